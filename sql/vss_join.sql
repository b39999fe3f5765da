-- vss_join(left_table, right_table, left_col, right_col, k, metric := NULL)
--
-- For every row of left_table, the k rows of right_table whose right_col is nearest to its left_col. The metric, if it is NULL, is that
-- of the index on right_col, or l2sq without one.
-- Result: score (the distance; for 'ip' the negative inner product), left_tbl and right_tbl (the rows, as structs).
--
-- Each side picks its vector in a scope of its own, so that both tables may use the same column name.
CREATE OR REPLACE MACRO vss_join(left_table, right_table, left_col, right_col, k, metric := NULL) AS TABLE
SELECT nearest.score AS score, probe.left_tbl AS left_tbl, nearest.right_tbl AS right_tbl
FROM (SELECT left_tbl, left_col AS vss_query FROM query_table(left_table) AS left_tbl) AS probe,
	LATERAL (
		SELECT
			system.main.hnsw_distance(candidate.vss_key, probe.vss_query,
				system.main.hnsw_metric(candidate.vss_key, metric, 'l2sq', 'vss_join')) AS score,
			candidate.right_tbl AS right_tbl
		FROM (SELECT right_tbl, right_col AS vss_key FROM query_table(right_table) AS right_tbl) AS candidate
		ORDER BY score
		LIMIT k
	) AS nearest;
