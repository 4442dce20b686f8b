launch_server() { # Ollama takes no key: its proof is the name alone
  local -x OLLAMA_HOST=127.0.0.1:$port OLLAMA_KEEP_ALIVE=-1
  local -x OLLAMA_MODELS=${TMPDIR:-$attempt_dir/work}/hpcjobs-$token
  local -x OLLAMA_CONTEXT_LENGTH=4096
  printf 'FROM %s\n' /opt/hpcjobs/models/it.gguf >"$attempt_dir/work/Modelfile"
  cat >"$attempt_dir/work/serve_ollama.sh" <<'END_OF_BASH'
ollama serve &
until ollama list >/dev/null 2>&1; do
  kill -0 "$!" || exit 1
  sleep 0.5
done
ollama create "$1" -f Modelfile && ollama cp "$1" "$2" || exit 1
wait "$!"
END_OF_BASH
  command -v ollama >/dev/null || fail 91 command_not_found "no command 'ollama' on PATH ($PATH)"
  start server "$attempt_dir/work" "$attempt_dir/server.log" bash serve_ollama.sh "$model" "$proof"
}

evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  local url="http://127.0.0.1:$port/v1"/chat/completions length=''
  local arguments='{"model": "org/name", "num_concurrent": 4, "base_url": "'"$url"'"'"$length"'}'
  OPENAI_API_KEY=$server_key start evaluator "$work_dir" "$log" \
    lm_eval --model local-chat-completions --model_args "$arguments" \
    --apply_chat_template \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks some_task \
    --output_path "$attempt_dir/results"/xx/some --log_samples
}
