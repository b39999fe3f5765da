"""A lock that many share and one holds alone."""

import contextlib
import threading


class Gate:
    """Whoever waits to hold it alone keeps newcomers out. Not reentrant."""

    def __init__(self):
        self.changed = threading.Condition()
        self.sharing = 0
        self.waiting = 0
        self.alone = False

    @contextlib.contextmanager
    def shared(self):
        with self.changed:
            self.changed.wait_for(lambda: not self.alone and not self.waiting)
            self.sharing += 1
        try:
            yield
        finally:
            with self.changed:
                self.sharing -= 1
                self.changed.notify_all()

    @contextlib.contextmanager
    def exclusive(self):
        with self.changed:
            self.waiting += 1
            self.changed.wait_for(lambda: not self.alone and not self.sharing)
            self.waiting -= 1
            self.alone = True
        try:
            yield
        finally:
            with self.changed:
                self.alone = False
                self.changed.notify_all()
