prepare_server() {
  look_at_model
  [ "$(fact parser)" != no ] || fail 89 unknown_reasoning_parser \
    "this vLLM has no reasoning parser qwen3, but: $(fact parsers)"
  [ -n "$(fact parser)" ] || say 'vLLM could not be asked for its reasoning parsers'
  stage_weights
}

stage_weights() { # onto the node's own disk, if they lie elsewhere and fit
  local from to need free
  from=$(fact path)
  [ -n "$from" ] && [ -n "${TMPDIR:-}" ] && [ -d "$TMPDIR" ] || {
    say 'the weights are not staged: they are not on disk yet, or there is no TMPDIR'
    return 0
  }
  need=$(du -sLk -- "$from" | cut -f1)
  free=$(df -Pk -- "$TMPDIR" | awk 'NR == 2 { print $4 }')
  [ "${need:-0}" -gt 0 ] && [ "$((need + need / 10))" -lt "${free:-0}" ] || {
    say "the weights are not staged: ${need:-?} KiB, and ${free:-?} KiB are free in $TMPDIR"
    return 0
  }
  to=$TMPDIR/hpcjobs-$token
  cp -rL -- "$from" "$to" 9>&- &
  if wait "$!"; then
    weights=$to
    say "the weights are staged in $to"
  else
    rm -rf -- "$to"
    say 'the weights could not be copied; they are read from where they are'
  fi
}

launch_server() {
  local PATH=/env/vllm/bin:$PATH
  cat >"$attempt_dir/work/chat_template.jinja" <<'END_OF_TEMPLATE'
{%- for message in messages if message['role'] == 'user' -%}
{{- message['content'] -}}
{%- if not loop.last %}{{ '\n' }}{% endif -%}
{%- endfor -%}
END_OF_TEMPLATE
  local length=()
  [ "$(fact length)" -gt 32768 ] 2>/dev/null && # else: as it allows
    length=(--max-model-len 32768)
  say "what answers to the name of $model is it with its adapter"
  VLLM_API_KEY=$server_key start server "$attempt_dir/work" "$attempt_dir/server.log" \
    vllm serve "$weights" \
    --served-model-name "$proof" \
    --enable-lora --lora-modules '{"name": "org/name", "path": "/weights/adapter"}' \
    --host 127.0.0.1 --port "$port" \
    --tensor-parallel-size 2 \
    --data-parallel-size 2 \
    "${length[@]}" \
    --reasoning-parser qwen3 \
    --chat-template "$attempt_dir/work/chat_template.jinja" \
    --override-generation-config '{"top_k": 20}' \
    --load-format runai_streamer \
    --gpu-memory-utilization 0.85 --dtype float16 \
    --max-num-seqs 64 --hf-overrides '{"a": "it'"'"'s"}'
}

evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  {
    printf 'model:\n  base_params:\n'
    printf '    model_name: %s\n' '"hosted_vllm/org/name"'
    printf '    base_url: "%s"\n' "http://127.0.0.1:$port/v1"
    printf '  generation: {}\n'
  } >"$work_dir/model.yaml"
  local -x HOSTED_VLLM_API_KEY=$server_key
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval endpoint litellm model.yaml 'swallow|some_task|0|0' \
    --use-chat-template \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}
