//! Medians and quartiles of a few values.

/// Value below which `part` (0 to 1) of the sorted values lie, interpolated; `None` of none.
fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let place = part * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    Some(sorted[low] + (sorted[high] - sorted[low]) * (place - place.floor()))
}

/// What is said of a measurement that was repeated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Middle value.
    pub median: f64,
    /// Distance of the quartiles, as a part of the median.
    pub iqr: f64,
    /// Least value.
    pub least: f64,
    /// Greatest value.
    pub greatest: f64,
}

impl Spread {
    /// Of these values; `None` of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let median = quantile(values, 0.5)?;
        Some(Self {
            median,
            iqr: (quantile(values, 0.75)? - quantile(values, 0.25)?) / median,
            least: quantile(values, 0.0)?,
            greatest: quantile(values, 1.0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_none_there_is_none() {
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn quartiles_are_interpolated() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(
            spread,
            Spread {
                median: 2.5,
                iqr: 0.6,
                least: 1.0,
                greatest: 4.0
            }
        );
        assert_eq!(Spread::of(&[7.0]).unwrap().median, 7.0);
    }
}
