"""Vector search over shards, when one machine is not enough: one DuckDB file with its index a shard, one Ray actor a file.

    import duckdb_vss.shards as shards

    shards.build("data/*.parquet", "/shared/items", 8, key="id", column="embedding", metric="cosine")
    with shards.Cluster.open("/shared/items") as cluster:
        print(cluster.search(query, 10, where="price < $most", values={"most": 50}, columns=["name"]).rows())

`pip install 'duckdb-vss[ray]'`. Ray starts on this machine, or `ray.init(address=…)` before joins a cluster: its machines have the same
package, and see `directory` under the same path.
"""

try:
    import numpy  # noqa: F401
    import pyarrow  # noqa: F401
    import ray  # noqa: F401
except ImportError as error:
    raise ImportError(f"{error}: duckdb_vss.shards needs Ray, pyarrow and NumPy: pip install 'duckdb-vss[ray]'") from error

from .build import build
from .cluster import Answer, Cluster, Recall
from .errors import Late, NotMergeable, ShardError, WriteError
from .manifest import Manifest

__all__ = ["Answer", "Cluster", "Late", "Manifest", "NotMergeable", "Recall", "ShardError", "WriteError", "build"]
