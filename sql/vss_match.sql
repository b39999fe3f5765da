-- vss_match(right_table, left_col, right_col, k, metric := NULL)
--
-- To be used as a lateral join: FROM left_table, vss_match(right_table, left_col, right_col, k).
-- Result: matches, a list of the k rows of right_table whose right_col is nearest to left_col, nearest first:
-- {score, row}. Empty (NULL) if right_table is empty. The metric as of vss_join.
CREATE OR REPLACE MACRO vss_match(right_table, left_col, right_col, k, metric := NULL) AS TABLE
SELECT list({'score': nearest.score, 'row': nearest.right_tbl} ORDER BY nearest.score) AS matches
FROM (
	SELECT
		system.main.hnsw_distance(candidate.vss_key, left_col,
			system.main.hnsw_metric(candidate.vss_key, metric, 'l2sq', 'vss_match')) AS score,
		candidate.right_tbl AS right_tbl
	FROM (SELECT right_tbl, right_col AS vss_key FROM query_table(right_table) AS right_tbl) AS candidate
	ORDER BY score
	LIMIT k
) AS nearest;
