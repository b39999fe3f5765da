"""Words over two shards, each with an actor of Ray: built, searched, changed, and a shard replaced.

    python walk.py words.parquet queries.parquet <folder>
"""

import sys

import duckdb
import duckdb_vss.shards as shards
import ray


def walk(words, queries, folder):
    # On a cluster: ray.init(address="auto"), and a folder that all of its machines see.
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)

    # Complete shards are not built again: called twice, this returns at once.
    manifest = shards.build(words, folder, 2, key="id", column="embedding", metric="cosine", options={"quantization": "sq8"})
    print(f"{sum(shard.rows for shard in manifest.shards):,} rows in {', '.join(shard.file for shard in manifest.shards)}")

    questions = duckdb.execute("SELECT sentence, embedding FROM read_parquet($1) ORDER BY id LIMIT 100", [queries]).fetchall()
    sentence, vector = questions[0]
    with shards.Cluster.open(folder, memory_limit="1GB") as cluster:
        print(f"\n» {sentence}")
        for id, definition, distance in cluster.search(vector, 3, columns=["definition"]).rows():
            print(f"   {distance:.3f}  {id}: {definition}")

        print("\nThe same among verbs, the second page of three:")
        page = cluster.search(vector, 3, where="part_of_speech = $part", values={"part": "verb"}, columns=["definition"], offset=3)
        for _, definition, distance in page.rows():
            print(f"   {distance:.3f}  {definition}")

        many = cluster.search([vector for _, vector in questions], 10)
        print(f"\n{len(questions)} questions at once: {len(many.table)} rows; recall {cluster.recall(10, 50).recall:.3f}")

        print("\nAny SELECT, merged by its ORDER BY and LIMIT:")
        near = "array_cosine_distance(embedding, $q::FLOAT[384])"
        sql = f"SELECT category, id, {near} AS distance FROM items WHERE {near} < 0.6 ORDER BY category DESC, distance LIMIT 3"
        for row in cluster.sql(sql, {"q": vector}).rows():
            print("  ", row)

        print("\nAppended:", cluster.append([{"id": 10**6, "definition": "what was asked", "embedding": vector}]))
        print("  now the nearest:", cluster.search(vector, 1, columns=["definition"]).rows())
        print("  deleted:", cluster.delete([10**6]))

        file = cluster.replace_shard(1, words)
        print(f"\nShard 1 was built anew while both answered: {file.file}, {file.rows:,} rows")
        for status in cluster.status():
            print(f"   shard {status['shard']}: {status['rows']:,} rows, index {status['index_status']}, {status['index_bytes']:,} bytes")
    ray.shutdown()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    walk(*sys.argv[1:])
