"""A service without work, named by its supervisor: ``python -m toy_service --state DIR``. With the file ``DIR/crash-NAME`` it crashes."""

import os

from daemons.process import main
from daemons.service import Service


class Toy(Service):
    """Runs, and crashes on demand."""

    name = os.environ.get("SUPERVISOR_PROCESS_NAME", "toy")
    every_s = 0.1

    def step(self) -> None:
        if (self.context.state.root / f"crash-{self.name}").exists():
            raise RuntimeError("crash on demand")
        self.status = "running"


if __name__ == "__main__":
    main(Toy)
