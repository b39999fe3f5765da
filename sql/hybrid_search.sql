-- hybrid_search(table_name, ranking, query, k, id_col := 'id', col := 'embedding', metric := NULL, score_col := 'score',
--     weights := [1, 1], rank_k := 60, candidates := 100)
--
-- Fuses two rankings of the rows of a table or view: by the distance of their vector (column col) to query, and by another score, the
-- higher, the better. `ranking` names a table, view or CTE with this score (score_col) and the row's id (id_col, as in the table). Weighted
-- reciprocal rank fusion: weights[1] * rrf(rank by vector, rank_k) + weights[2] * rrf(rank by score, rank_k). The first `candidates` rows
-- of each ranking take part, k at least. Only the table's rows are ranked: a filter in it, as a view, holds for both rankings.
-- Result: the k best rows, all columns, and vector_rank, score_rank (NULL: not among the candidates) and score, best first.
--
-- Ids are found first and rows by them: rows of a ranking are narrow. A row with several scores has its best one.
CREATE OR REPLACE MACRO hybrid_search(table_name, ranking, query, k, id_col := 'id', col := 'embedding', metric := NULL, score_col := 'score', weights := [1, 1], rank_k := 60, candidates := 100) AS TABLE
SELECT result.* EXCLUDE (vss_id), fused.vector_rank, fused.score_rank, fused.vss_fused AS score
FROM (
	SELECT vss_id, min(vss_vector) AS vector_rank, min(vss_other) AS score_rank,
		CASE
			WHEN list_count(weights::DOUBLE[]) IS DISTINCT FROM 2 OR len(weights::DOUBLE[]) > 2 OR list_min(weights::DOUBLE[]) < 0
				OR NOT isfinite(list_max(weights::DOUBLE[])) THEN
				error('hybrid_search: weights is ' || coalesce(weights::VARCHAR, 'NULL') || '; use two numbers of 0 or more, for vectors and for scores')
			WHEN candidates IS NULL OR candidates < 1 THEN
				error('hybrid_search: candidates is ' || coalesce(candidates::VARCHAR, 'NULL') || '; use 1 or more')
			ELSE (weights::DOUBLE[])[1] * system.main.rrf(min(vss_vector), k := rank_k) + (weights::DOUBLE[])[2] * system.main.rrf(min(vss_other), k := rank_k)
		END AS vss_fused
	FROM (
		SELECT vss_id, row_number() OVER (ORDER BY vss_distance) AS vss_vector, NULL::BIGINT AS vss_other
		FROM (
			SELECT
				candidate.vss_id,
				system.main.hnsw_distance(candidate.vss_key, probe.vss_query,
					system.main.hnsw_metric(candidate.vss_key, metric, 'cosine', 'hybrid_search')) AS vss_distance
			FROM (SELECT query AS vss_query) AS probe,
				(SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([col]) AS vss_key FROM query_table(table_name)) AS candidate
			WHERE candidate.vss_id IS NOT NULL
			ORDER BY vss_distance
			LIMIT greatest(candidates, k)
		)
		WHERE vss_distance IS NOT NULL
		UNION ALL
		SELECT vss_id, NULL, row_number() OVER (ORDER BY vss_score DESC, vss_id)
		FROM (
			SELECT vss_id, max(vss_score) AS vss_score
			FROM (SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([score_col]) AS vss_score FROM query_table(ranking))
			WHERE vss_score IS NOT NULL AND vss_id IN (SELECT COLUMNS([id_col]) FROM query_table(table_name))
			GROUP BY vss_id
			ORDER BY vss_score DESC, vss_id
			LIMIT greatest(candidates, k)
		)
	)
	GROUP BY vss_id
	ORDER BY vss_fused DESC, vector_rank, score_rank
	LIMIT k
) AS fused
JOIN (SELECT COLUMNS([id_col]) AS vss_id, * FROM query_table(table_name)) AS result ON result.vss_id = fused.vss_id
ORDER BY fused.vss_fused DESC, fused.vector_rank, fused.score_rank
LIMIT k;
