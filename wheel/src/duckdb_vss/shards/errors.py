"""What goes wrong with shards; each message names the shard, its file, and what to do."""


class ShardError(RuntimeError):
    """A shard cannot answer: its file is missing, damaged or another's, its statement failed, or its actor is gone.

    `shards`: the numbers of those that failed.
    """

    def __init__(self, message, shards=()):
        super().__init__(message)
        self.shards = tuple(shards)

    def __reduce__(self):
        return type(self), (str(self), self.shards)


class Late(ShardError):
    """Shards did not answer within the deadline."""


class WriteError(ShardError):
    """Some shards have done their part of an append or a delete, and others perhaps not.

    `id`: the same call with this id does what is missing, and nothing twice.
    """

    def __init__(self, message, shards=(), id=None):
        super().__init__(message, shards)
        self.id = id

    def __reduce__(self):
        return type(self), (str(self), self.shards, self.id)


class NotMergeable(ValueError):
    """The answers of the shards to this statement, put together, are not the answer of one table."""
