-- rrf(rank, k := 60)
--
-- What a ranking gives to a row that it has at `rank` (1 is the best), for reciprocal rank fusion (Cormack et al., 2009): 1 / (k + rank).
-- 0 for a row that it does not have: NULL.
CREATE OR REPLACE MACRO rrf(rank, k := 60) AS
CASE
	WHEN k IS NULL OR k < 0 OR isnan(k::DOUBLE) THEN error('rrf: k is ' || coalesce(k::VARCHAR, 'NULL') || '; use a number of 0 or more')
	WHEN rank < 1 OR isnan(rank::DOUBLE) THEN error('rrf: rank is ' || rank || '; use 1 for the best row')
	WHEN rank IS NULL THEN 0.0::DOUBLE
	ELSE 1 / (k::DOUBLE + rank)
END;
