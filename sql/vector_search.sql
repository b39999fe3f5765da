-- vector_search(table_name, query, k, col := 'embedding', metric := NULL)
--
-- The k rows of a table or view whose vector in column col is nearest to query: all columns, and score, a similarity: the
-- higher, the nearer. Ordered by score, best first. The metric says what near means and what score is; NULL: that of the index on the
-- column, or cosine without one:
--   'cosine' (cos): the cosine of the angle, from -1 to 1
--   'ip' (dot, dot_product, inner_product, max_inner_product): the inner product
--   'l2sq' (l2, l2_norm, euclidean): 1 / (1 + distance), from 0 to 1
--
-- The order is that of the distance: a vector without a direction has the distance NaN, which comes last, as a score it would
-- come first. The query vector has a scope of its own, left of the table's, so that a subquery is planned once and a column that it
-- names is none of the table's. The macro's own columns come first: DuckDB then renames a column of the table of the same name.
CREATE OR REPLACE MACRO vector_search(table_name, query, k, col := 'embedding', metric := NULL) AS TABLE
SELECT * EXCLUDE (vss_distance, vss_metric), system.main.hnsw_similarity(vss_distance, vss_metric) AS score
FROM (
	SELECT
		system.main.hnsw_metric(candidate.vss_key, metric, 'cosine', 'vector_search') AS vss_metric,
		system.main.hnsw_distance(candidate.vss_key, probe.vss_query,
			system.main.hnsw_metric(candidate.vss_key, metric, 'cosine', 'vector_search')) AS vss_distance,
		candidate.* EXCLUDE (vss_key)
	FROM (SELECT query AS vss_query) AS probe, (SELECT COLUMNS([col]) AS vss_key, * FROM query_table(table_name)) AS candidate
	ORDER BY 2
	LIMIT k
);
