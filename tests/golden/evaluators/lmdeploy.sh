launch_server() {
  cat >"$attempt_dir/work/serve_lmdeploy.py" <<'END_OF_PYTHON'
...
END_OF_PYTHON
  SERVER_KEY=$server_key start server "$attempt_dir/work" "$attempt_dir/server.log" \
    python3 serve_lmdeploy.py org/name \
    --model-name "$model" \
    --server-name 127.0.0.1 --server-port "$port" \
    --reasoning-parser deepseek-v3 \
    --tp 2 --dtype bfloat16 \
    --backend pytorch
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
