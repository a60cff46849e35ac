"""What this machine's processor can do, found without importing torch."""

from pathlib import Path

from hybrid.data.records import Precision

_CPU_INFO = Path("/proc/cpuinfo")
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # x86, x86, ARM


def cpu_precision(cpu_info: Path = _CPU_INFO) -> Precision:
    """`bf16` if the processor multiplies bfloat16 matrices in hardware, otherwise `fp32`.

    Elsewhere than on Linux, where nothing tells, the answer is `fp32`.
    """
    try:
        lines = cpu_info.read_text().splitlines()
    except OSError:
        return "fp32"
    listed = [line for line in lines if line.lower().startswith(("flags", "features"))]
    flags = {word for line in listed for word in line.split()}
    return "bf16" if flags & _BF16_FLAGS else "fp32"
