"""The hot operations, one folder each: `kernel.py` (Triton), `reference.py` (plain torch, float32 inside), and `cpu.py`
where plain torch is too slow on a CPU. `from lightllm_rs.kernels.rms_norm import rms_norm` gives the one public name,
which runs the Triton kernel for CUDA tensors and torch for the rest. Triton is imported by the first CUDA call only.
"""
