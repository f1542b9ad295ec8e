"""One suite a file."""

from .aot import Aot
from .compile import Compile
from .devices import Devices
from .generic import Generic
from .memory import Memory
from .parallel import Parallel
from .processes import Processes
from .scaling import Scaling
from .streaming import Streaming
from .unroll import Unroll

SUITES = {
    suite.name: suite
    for suite in (
        Unroll,
        Memory,
        Compile,
        Streaming,
        Generic,
        Parallel,
        Scaling,
        Devices,
        Processes,
        Aot,
    )
}
# Those that measure the machine they run on.
MEASURED = tuple(name for name in SUITES if name != Aot.name)
