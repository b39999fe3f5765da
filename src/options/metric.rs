//! The metrics by which an index can rank.

use crate::error::{Error, ErrorKind, Result};

/// A distance by which an index can rank. Smaller is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Squared Euclidean distance.
    L2sq,
    /// One minus the cosine of the angle.
    Cosine,
    /// One minus the inner product.
    Ip,
}

/// Each metric with the name that it is shown by, then its aliases.
const NAMES: [(Metric, &[&str]); 3] = [
    (Metric::L2sq, &["l2sq", "l2", "l2_norm", "euclidean"]),
    (Metric::Cosine, &["cosine", "cos"]),
    (Metric::Ip, &["ip", "dot", "dot_product", "inner_product", "max_inner_product"]),
];

/// SQL functions of two vectors: the metric they rank like, and whether in descending order.
const FUNCTIONS: [(&str, Metric, bool); 18] = [
    ("array_distance", Metric::L2sq, false),
    ("list_distance", Metric::L2sq, false),
    ("<->", Metric::L2sq, false),
    ("array_cosine_distance", Metric::Cosine, false),
    ("list_cosine_distance", Metric::Cosine, false),
    ("<=>", Metric::Cosine, false),
    ("array_cosine_similarity", Metric::Cosine, true),
    ("list_cosine_similarity", Metric::Cosine, true),
    ("array_negative_inner_product", Metric::Ip, false),
    ("array_negative_dot_product", Metric::Ip, false),
    ("list_negative_inner_product", Metric::Ip, false),
    ("list_negative_dot_product", Metric::Ip, false),
    ("<#>", Metric::Ip, false),
    ("array_inner_product", Metric::Ip, true),
    ("array_dot_product", Metric::Ip, true),
    ("list_inner_product", Metric::Ip, true),
    ("list_dot_product", Metric::Ip, true),
    ("<*>", Metric::Ip, true),
];

impl Metric {
    /// The metric of this name or alias, in any case. Errors: `Binder`, listing the names.
    pub fn parse(given: &str) -> Result<Self> {
        Self::find(given).ok_or_else(|| {
            Error::new(ErrorKind::Binder, format!("HNSW option 'metric' is '{given}'; use one of {}", Self::names()))
        })
    }

    /// The metric of this name or alias, in any case, if there is one.
    pub fn find(given: &str) -> Option<Self> {
        let lower = given.to_ascii_lowercase();
        NAMES.iter().find(|(_, names)| names.contains(&lower.as_str())).map(|&(metric, _)| metric)
    }

    /// All names, as messages list them.
    pub fn names() -> String {
        NAMES.map(|(_, names)| format!("'{}' ({})", names[0], names[1..].join(", "))).join(", ")
    }

    /// The name that users see.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1[0]
    }

    /// The metric whose order equals `ORDER BY sql_function(column, query)`, if there is one. Names in any case.
    pub fn ranking_like(sql_function: &str, descending: bool) -> Option<Self> {
        let fits = |entry: &&(&str, Metric, bool)| entry.0.eq_ignore_ascii_case(sql_function) && entry.2 == descending;
        FUNCTIONS.iter().find(fits).map(|entry| entry.1)
    }

    /// The distance, in the unit of the metric that ranks like the SQL function, at which the function has the value `value`; negative
    /// infinity if it has this value nowhere. `None` for other functions. Names in any case.
    pub fn distance_at(sql_function: &str, value: f64) -> Option<f64> {
        let &(_, metric, descending) = FUNCTIONS.iter().find(|entry| entry.0.eq_ignore_ascii_case(sql_function))?;
        Some(match metric {
            _ if descending => 1.0 - value,
            Self::L2sq if value < 0.0 => f64::NEG_INFINITY,
            Self::L2sq => value * value,
            Self::Cosine => value,
            Self::Ip => 1.0 + value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_parses_in_any_case() {
        for (metric, names) in NAMES {
            assert_eq!(metric.name(), names[0]);
            for name in names {
                assert_eq!(Metric::parse(name), Ok(metric));
                assert_eq!(Metric::parse(&name.to_uppercase()), Ok(metric));
            }
        }
    }

    #[test]
    fn an_unknown_metric_is_told_the_allowed_ones() {
        let error = Metric::parse("hamming").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Binder);
        assert_eq!(
            error.message,
            "HNSW option 'metric' is 'hamming'; use one of 'l2sq' (l2, l2_norm, euclidean), 'cosine' (cos), \
             'ip' (dot, dot_product, inner_product, max_inner_product)"
        );
    }

    #[test]
    fn functions_rank_in_one_direction_only() {
        assert_eq!(Metric::ranking_like("array_distance", false), Some(Metric::L2sq));
        assert_eq!(Metric::ranking_like("array_distance", true), None);
        assert_eq!(Metric::ranking_like("ARRAY_COSINE_SIMILARITY", true), Some(Metric::Cosine));
        assert_eq!(Metric::ranking_like("array_cosine_similarity", false), None);
        assert_eq!(Metric::ranking_like("array_cross_product", false), None);
    }

    #[test]
    fn values_of_functions_are_distances() {
        let at = Metric::distance_at;
        assert_eq!(at("array_distance", 3.0), Some(9.0));
        assert_eq!(at("ARRAY_DISTANCE", -3.0), Some(f64::NEG_INFINITY));
        assert_eq!(at("<->", f64::INFINITY), Some(f64::INFINITY));
        assert_eq!(at("<=>", 0.25), Some(0.25));
        assert_eq!(at("list_cosine_similarity", 0.75), Some(0.25));
        assert_eq!(at("array_inner_product", 3.0), Some(-2.0));
        assert_eq!(at("array_negative_inner_product", -3.0), Some(-2.0));
        assert_eq!(at("array_cross_product", 1.0), None);
    }
}
