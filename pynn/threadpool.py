"""pynn's threads under threadpoolctl, the tool that sees and limits the threads of NumPy's BLAS and of others.

``import pynn`` registers this by itself where threadpoolctl has been imported before; else import this module.

>>> import pynn.threadpool, threadpoolctl
>>> with threadpoolctl.threadpool_limits(1):
...     pynn.get_num_threads()
1
"""

from __future__ import annotations

import threadpoolctl

from pynn import engine


class Controller(threadpoolctl.LibController):  # type: ignore[misc]  # threadpoolctl has no types
    """What threadpoolctl asks of a library.

    >>> "pynn" in [each["user_api"] for each in threadpoolctl.threadpool_info()]
    True
    """

    user_api = internal_api = "pynn"
    filename_prefixes = ("_core",)
    check_symbols = ("pynn_get_num_threads", "pynn_set_num_threads")

    def get_num_threads(self) -> int:
        """As pynn.get_num_threads."""
        return engine.get_num_threads()

    def set_num_threads(self, num_threads: int) -> None:
        """As pynn.set_num_threads."""
        engine.set_num_threads(num_threads)

    def get_version(self) -> str:
        """The version of pynn."""
        import pynn

        return pynn.__version__

    def set_additional_attributes(self) -> None:
        """Add what else tells how it runs."""
        self.instruction_set = engine.instruction_set()


threadpoolctl.register(Controller)
