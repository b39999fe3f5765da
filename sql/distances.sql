-- hnsw_distance(a, b, metric)
--
-- The distance of two vectors by a metric: array_distance, array_cosine_distance or array_negative_inner_product. The metric is a name that
-- hnsw_metric gives: 'l2sq', 'cosine' or 'ip'.
CREATE OR REPLACE MACRO hnsw_distance(a, b, metric) AS
CASE metric
	WHEN 'l2sq' THEN array_distance(a, b)
	WHEN 'cosine' THEN array_cosine_distance(a, b)
	WHEN 'ip' THEN array_negative_inner_product(a, b)
	ELSE error('hnsw_distance: metric is ''' || metric || '''; use ''l2sq'', ''cosine'' or ''ip''')
END;

-- hnsw_similarity(distance, metric)
--
-- The same as a similarity, the higher, the nearer: 1 / (1 + distance), from 0 to 1, the cosine of the angle, or the inner product.
CREATE OR REPLACE MACRO hnsw_similarity(distance, metric) AS
CASE metric
	WHEN 'l2sq' THEN 1 / (1 + distance)
	WHEN 'cosine' THEN 1 - distance
	WHEN 'ip' THEN -distance
END;
