-- near_duplicates(table_name, threshold, id_col := 'id', col := 'embedding', metric := NULL)
--
-- All pairs of rows of a table or view whose distance by the metric is at most threshold: complete, never approximate. Rows are told apart by
-- their ids (column id_col). With an index of that metric the pairs are found in it.
-- Result: id, duplicate (the greater id) and distance; each pair once.
--
-- These names are given last: where the threshold is compared, a column that it names is none of the macro's.
CREATE OR REPLACE MACRO near_duplicates(table_name, threshold, id_col := 'id', col := 'embedding', metric := NULL) AS TABLE
SELECT vss_id AS id, vss_duplicate AS duplicate, vss_distance AS distance
FROM (
	SELECT first.vss_id, second.vss_id AS vss_duplicate,
		system.main.hnsw_distance(first.vss_key, second.vss_key, system.main.hnsw_metric(first.vss_key, metric, 'cosine', 'near_duplicates')) AS vss_distance
	FROM (SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([col]) AS vss_key FROM query_table(table_name)) AS first
	JOIN (SELECT COLUMNS([id_col]) AS vss_id, COLUMNS([col]) AS vss_key FROM query_table(table_name)) AS second
		ON first.vss_id < second.vss_id
	WHERE system.main.hnsw_distance(first.vss_key, second.vss_key, system.main.hnsw_metric(first.vss_key, metric, 'cosine', 'near_duplicates')) <= CASE
		WHEN threshold IS NULL OR isnan(threshold::DOUBLE)
			OR (threshold < 0 AND system.main.hnsw_metric(first.vss_key, metric, 'cosine', 'near_duplicates') <> 'ip')
			THEN error('near_duplicates: threshold is ' || coalesce(threshold::VARCHAR, 'NULL') || '; use a distance of 0 or more (with the metric ''ip'' any number)')
		ELSE threshold
	END
);

-- near_duplicate_groups(table_name, threshold, id_col := 'id', col := 'embedding', metric := NULL)
--
-- The same as groups: rows that near_duplicates pairs are in one, and so are those that are linked by others. Rows without a duplicate are in none.
-- Result: id and group_id, the least id of the group.
--
-- A step of the recursion gives rows the least id that the step before has given to one of their duplicates, if that is less than theirs.
CREATE OR REPLACE MACRO near_duplicate_groups(table_name, threshold, id_col := 'id', col := 'embedding', metric := NULL) AS TABLE
WITH RECURSIVE vss_pairs AS MATERIALIZED (
	FROM near_duplicates(table_name, threshold, id_col := id_col, col := col, metric := metric)
),
vss_links AS MATERIALIZED (
	SELECT id, duplicate FROM vss_pairs
	UNION ALL
	SELECT duplicate, id FROM vss_pairs
),
vss_groups(id, group_id) USING KEY (id) AS (
	SELECT DISTINCT id, id FROM vss_links
	UNION
	SELECT vss_links.id, min(changed.group_id)
	FROM vss_groups AS changed
	JOIN vss_links ON vss_links.duplicate = changed.id
	JOIN recurring.vss_groups AS known ON known.id = vss_links.id
	WHERE changed.group_id < known.group_id
	GROUP BY vss_links.id
)
FROM vss_groups;
