evaluate_1() { # mera_image_ruclevr
  local PATH=/env/evaluator/bin:$PATH
  local -x LOAD_BASE64=1
  local -x HF_DATASETS_CACHE=/group/cache/mera
  local arguments=pretrained=Qwen/Qwen2-VL-2B-Instruct,dtype=bfloat16,tensor_parallel_size=1,gpu_memory_utilization=0.9
  start evaluator "$work_dir" "$log" \
    lm_eval --model vllm-vlm --model_args "$arguments" \
    --apply_chat_template \
    --include_path /group/repo/MERA_MULTIMODAL/multimodal_tasks --tasks ruclevr \
    --num_fewshot 0 \
    --batch_size 1 \
    --device cuda \
    --seed 1234 \
    --fewshot_as_multiturn \
    --predict_only \
    --trust_remote_code \
    --verbosity ERROR \
    --pass_multimodal_args_to_chat_history \
    --gen_kwargs do_sample=False \
    --output_path "$attempt_dir/results"/mera/image/ruclevr --log_samples
}
