-- mmr(table_name, query, k, lambda_mult := 0.5, candidates := 100, col := 'embedding', metric := NULL)
--
-- k of the `candidates` rows nearest to query, which differ from each other: maximal marginal relevance (Carbonell and Goldstein, 1998).
-- Each row chosen is the one with the greatest lambda_mult * its similarity to query - (1 - lambda_mult) * its similarity to that of the rows chosen
-- before which is most like it. lambda_mult 1: the nearest k; lambda_mult 0: the nearest, and then what is most unlike. Similarities are the scores
-- of vector_search; 0 where a vector has none (a cosine of zeros). Rows without a vector are not chosen.
-- Result: all columns, position (1 is the first chosen) and score (the similarity to query), in the order in which they were chosen.
--
-- Both similarities are computed alike: where the query is a chosen row's own vector, they are equal to the last bit.
-- A step of the recursion has all candidates that are left, each with its greatest similarity to a chosen row, and the next row to be
-- chosen, the first of them: it takes that one out.
CREATE OR REPLACE MACRO mmr(table_name, query, k, lambda_mult := 0.5, candidates := 100, col := 'embedding', metric := NULL) AS TABLE
WITH RECURSIVE vss_candidates AS MATERIALIZED (
	SELECT row_number() OVER (ORDER BY vss_distance) AS vss_number,
		CASE
			WHEN isnan(vss_distance) THEN 0
			ELSE system.main.hnsw_similarity(vss_distance, vss_metric)
		END AS vss_score,
		*
	FROM (
		SELECT
			system.main.hnsw_metric(candidate.vss_key, metric, 'cosine', 'mmr') AS vss_metric,
			system.main.hnsw_distance(candidate.vss_key, probe.vss_query,
				system.main.hnsw_metric(candidate.vss_key, metric, 'cosine', 'mmr')) AS vss_distance,
			candidate.*
		FROM (SELECT query AS vss_query) AS probe, (SELECT COLUMNS([col]) AS vss_key, * FROM query_table(table_name)) AS candidate
		ORDER BY 2
		LIMIT greatest(candidates, 1)
	)
	WHERE vss_distance IS NOT NULL
),
vss_steps AS (
	SELECT 0 AS vss_step, vss_number AS vss_left, NULL::DOUBLE AS vss_likeness, min(vss_number) OVER () AS vss_next
	FROM vss_candidates
	WHERE CASE
		WHEN lambda_mult IS NULL OR lambda_mult < 0 OR lambda_mult > 1 OR isnan(lambda_mult::DOUBLE) THEN
			error('mmr: lambda_mult is ' || coalesce(lambda_mult::VARCHAR, 'NULL') || '; use a number from 0 (as different as possible) to 1 (the nearest)')
		WHEN candidates IS NULL OR candidates < 1 THEN
			error('mmr: candidates is ' || coalesce(candidates::VARCHAR, 'NULL') || '; use 1 or more')
		WHEN k IS NULL OR k < 0 OR k > candidates THEN
			error('mmr: k is ' || coalesce(k::VARCHAR, 'NULL') || '; use 0 to ' || candidates || ', or more candidates')
		ELSE k > 0
	END
	UNION ALL
	SELECT vss_step, vss_left, vss_likeness,
		arg_max(vss_left, [lambda_mult * vss_score - (1 - lambda_mult) * vss_likeness, -vss_left]) OVER ()
	FROM (
		SELECT vss_steps.vss_step + 1 AS vss_step, vss_steps.vss_left, other.vss_score,
			greatest(vss_steps.vss_likeness, CASE
				WHEN isnan(system.main.hnsw_distance(other.vss_key, chosen.vss_key, other.vss_metric)) THEN 0
				ELSE system.main.hnsw_similarity(system.main.hnsw_distance(other.vss_key, chosen.vss_key, other.vss_metric), other.vss_metric)
			END) AS vss_likeness
		FROM vss_steps
		JOIN vss_candidates AS chosen ON chosen.vss_number = vss_steps.vss_next
		JOIN vss_candidates AS other ON other.vss_number = vss_steps.vss_left
		WHERE vss_steps.vss_left != vss_steps.vss_next AND vss_steps.vss_step + 1 < k
	)
)
SELECT vss_candidates.* EXCLUDE (vss_key, vss_metric, vss_distance, vss_number, vss_score), chosen.vss_step + 1 AS position,
	vss_candidates.vss_score AS score
FROM (SELECT DISTINCT vss_step, vss_next FROM vss_steps) AS chosen JOIN vss_candidates ON vss_candidates.vss_number = chosen.vss_next
ORDER BY chosen.vss_step;
