-- vss_match(right_table, left_col, right_col, k, metric := 'l2sq')
--
-- To be used as a lateral join: FROM left_table, vss_match(right_table, left_col, right_col, k).
-- Result: matches, a list of the k rows of right_table whose right_col is nearest to left_col, nearest first:
-- {score, row}. Empty (NULL) if right_table is empty.
CREATE OR REPLACE MACRO vss_match(right_table, left_col, right_col, k, metric := 'l2sq') AS TABLE
SELECT list({'score': nearest.score, 'row': nearest.right_tbl} ORDER BY nearest.score) AS matches
FROM (
	SELECT
		CASE
			WHEN lower(metric) IN ('l2sq', 'l2', 'l2_norm', 'euclidean') THEN array_distance(candidate.vss_key, left_col)
			WHEN lower(metric) IN ('cosine', 'cos') THEN array_cosine_distance(candidate.vss_key, left_col)
			WHEN lower(metric) IN ('ip', 'dot', 'dot_product', 'inner_product', 'max_inner_product')
				THEN array_negative_inner_product(candidate.vss_key, left_col)
			ELSE error('vss_match: metric is ''' || metric || '''; use ''l2sq'' (l2, l2_norm, euclidean), ''cosine'' (cos) or ''ip'' (dot, dot_product, inner_product, max_inner_product)')
		END AS score,
		candidate.right_tbl AS right_tbl
	FROM (SELECT right_tbl, right_col AS vss_key FROM query_table(right_table) AS right_tbl) AS candidate
	ORDER BY score
	LIMIT k
) AS nearest;
