-- more_like_this(table_name, liked, k, disliked := [], strategy := 'mean', dislike := 0.5, id_col := 'id', col := 'embedding',
--     metric := NULL, candidates := 100)
--
-- The k rows of a table or view most like some of its rows and least like others: liked and disliked are lists of their ids (column
-- id_col), which are not in the answer.
--   strategy 'mean': the rows nearest to the mean of the liked vectors minus `dislike` times the mean of the disliked ones
--   strategy 'best_score': of the `candidates` rows nearest to each liked one, k at least, those most like any of them; rows that are more
--     like a disliked one come after all others, those least like it first
-- Result: all columns, and score: the similarity (as of vector_search) to that mean, or to the liked row that is most like it.
--
-- One strategy is left when the query has been planned: the condition of the other one is false.
CREATE OR REPLACE MACRO more_like_this(table_name, liked, k, disliked := [], strategy := 'mean', dislike := 0.5, id_col := 'id', col := 'embedding', metric := NULL, candidates := 100) AS TABLE
SELECT * EXCLUDE (vss_metric, vss_distance, vss_order, vss_worse), system.main.hnsw_similarity(vss_distance, vss_metric) AS score
FROM (
	(
		SELECT vss_metric, vss_distance, vss_distance AS vss_order, false AS vss_worse, * EXCLUDE (vss_metric, vss_distance)
		FROM (
			SELECT
				system.main.hnsw_metric(candidate.vss_key, metric, 'cosine', 'more_like_this') AS vss_metric,
				system.main.hnsw_distance(candidate.vss_key, probe.vss_query,
					system.main.hnsw_metric(candidate.vss_key, metric, 'cosine', 'more_like_this')) AS vss_distance,
				candidate.* EXCLUDE (vss_id, vss_key)
			FROM (
					SELECT
						CASE
							WHEN list_has_any(liked, disliked) THEN
								error('more_like_this: both lists hold ' || list_intersect(liked, disliked)::VARCHAR || '; a row is liked or disliked')
							WHEN count(vss_key) FILTER (list_contains(liked, vss_id)) = 0 THEN
								error('more_like_this: no row with a vector has one of the ids ' || coalesce(liked::VARCHAR, 'NULL') || '; use ids of rows that are liked')
							WHEN dislike IS NULL OR dislike < 0 OR NOT dislike <= 1000 THEN
								error('more_like_this: dislike is ' || coalesce(dislike::VARCHAR, 'NULL') || '; use a number from 0 to 1000')
							WHEN count(vss_key) FILTER (list_contains(disliked, vss_id)) = 0 THEN avg(vss_key) FILTER (list_contains(liked, vss_id))
							ELSE array_subtract(
								avg(vss_key) FILTER (list_contains(liked, vss_id)),
								array_scale(avg(vss_key) FILTER (list_contains(disliked, vss_id)), dislike))
						END AS vss_query
					FROM (SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([col]) AS vss_key FROM query_table(table_name))
					WHERE list_contains(liked, vss_id) OR list_contains(disliked, vss_id)
				) AS probe,
				(SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([col]) AS vss_key, * FROM query_table(table_name)) AS candidate
			WHERE lower(strategy) = 'mean'
				AND NOT coalesce(list_contains(liked, candidate.vss_id) OR list_contains(disliked, candidate.vss_id), false)
			ORDER BY 2
			LIMIT k
		)
	)
	UNION ALL
	(
		SELECT system.main.hnsw_metric(candidate.vss_key, metric, 'cosine', 'more_like_this') AS vss_metric, best.vss_distance,
			CASE WHEN best.vss_worse THEN -best.vss_other ELSE best.vss_distance END AS vss_order, best.vss_worse,
			candidate.* EXCLUDE (vss_id, vss_key)
		FROM (
			SELECT vss_id, min(vss_distance) FILTER (vss_liked) AS vss_distance, min(vss_distance) FILTER (NOT vss_liked) AS vss_other,
				coalesce(min(vss_distance) FILTER (NOT vss_liked) <= min(vss_distance) FILTER (vss_liked), false) AS vss_worse
			FROM (
				SELECT found.vss_id, example.vss_liked, system.main.hnsw_distance(found.vss_key, example.vss_key,
					system.main.hnsw_metric(found.vss_key, metric, 'cosine', 'more_like_this')) AS vss_distance
				FROM (
					SELECT DISTINCT ON (near.vss_id) near.vss_id, near.vss_key
					FROM (SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([col]) AS vss_key FROM query_table(table_name)) AS example,
						LATERAL (
							SELECT vss_id, vss_key, system.main.hnsw_distance(own.vss_key, example.vss_key,
								system.main.hnsw_metric(own.vss_key, metric, 'cosine', 'more_like_this')) AS vss_distance
							FROM (SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([col]) AS vss_key FROM query_table(table_name)) AS own
							WHERE NOT coalesce(list_contains(liked, own.vss_id) OR list_contains(disliked, own.vss_id), false)
							ORDER BY vss_distance
							LIMIT greatest(candidates, k)
						) AS near
					WHERE list_contains(liked, example.vss_id) AND example.vss_key IS NOT NULL
				) AS found,
				(
					SELECT vss_key, list_contains(liked, vss_id) AS vss_liked
					FROM (SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([col]) AS vss_key FROM query_table(table_name))
					WHERE list_contains(liked, vss_id) OR list_contains(disliked, vss_id)
				) AS example
			)
			GROUP BY vss_id
			HAVING min(vss_distance) FILTER (vss_liked) IS NOT NULL
		) AS best
		JOIN (SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([col]) AS vss_key, * FROM query_table(table_name)) AS candidate ON candidate.vss_id = best.vss_id
		WHERE CASE
			WHEN lower(strategy) IN ('mean', 'best_score') THEN lower(strategy) = 'best_score'
			ELSE error('more_like_this: strategy is ''' || coalesce(strategy, 'NULL') || '''; use ''mean'' or ''best_score''')
		END AND (
			SELECT CASE
				WHEN list_has_any(liked, disliked) THEN
					error('more_like_this: both lists hold ' || list_intersect(liked, disliked)::VARCHAR || '; a row is liked or disliked')
				WHEN count(vss_key) = 0 THEN
					error('more_like_this: no row with a vector has one of the ids ' || coalesce(liked::VARCHAR, 'NULL') || '; use ids of rows that are liked')
				WHEN candidates IS NULL OR candidates < 1 THEN
					error('more_like_this: candidates is ' || coalesce(candidates::VARCHAR, 'NULL') || '; use 1 or more')
				ELSE true
			END
			FROM (SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([col]) AS vss_key FROM query_table(table_name))
			WHERE list_contains(liked, vss_id)
		)
	)
	ORDER BY 4, 3
	LIMIT k
)
ORDER BY vss_worse, vss_order;
