evaluate_1() { # mera_simplear
  local PATH=/env/evaluator/bin:$PATH
  local -x PYTHONPATH=/group/repo/MERA
  local -x HF_DATASETS_CACHE=/group/cache/mera
  local -x HF_DATASETS_IN_MEMORY_MAX_SIZE=23400000
  local -x TOKENIZERS_PARALLELISM=false
  local arguments=pretrained=org/name,dtype=auto
  start evaluator "$work_dir" "$log" \
    lm_eval --model hf --model_args "$arguments" \
    --include_path /group/repo/MERA/benchmark_tasks --tasks simplear \
    --num_fewshot 2 \
    --batch_size 1 \
    --device cuda \
    --seed 1234 \
    --predict_only \
    --verbosity ERROR \
    --gen_kwargs do_sample=False \
    --output_path "$attempt_dir/results"/mera/simplear --log_samples
}
