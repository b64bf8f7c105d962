//! What the figures are for: CPU of nofault's peers against that of others, and what is to be
//! reached.

use serde::Serialize;

use crate::peers::{self, Kind};
use crate::rounds::{Cell, Outcome};

/// The depth at which they count.
const DEPTH: usize = 32;

/// Whom a peer is held against.
enum Against {
    Peer(&'static str),
    /// Each of this kind.
    All(Kind),
}

/// What is to be reached.
#[derive(Clone, Copy)]
enum Reach {
    AtMost(f64),
    Below(f64),
}

struct Claim {
    of: &'static str,
    against: Against,
    reach: Reach,
}

/// A line for each face of nofault and what it is held against; those of peers that did not run are
/// left out.
const CLAIMS: &[Claim] = &[
    Claim {
        of: "nofault-queue-pinned",
        against: Against::Peer("bare-registered"),
        reach: Reach::AtMost(1.02),
    },
    Claim {
        of: "nofault-queue-pinned",
        against: Against::All(Kind::Runtime),
        reach: Reach::Below(1.0),
    },
    Claim {
        of: "nofault-queue-foreign",
        against: Against::Peer("bare-plain"),
        reach: Reach::AtMost(1.10),
    },
    Claim {
        of: "nofault-futures-pinned",
        against: Against::Peer("bare-registered"),
        reach: Reach::AtMost(1.02),
    },
    Claim {
        of: "nofault-futures-pinned",
        against: Against::All(Kind::Runtime),
        reach: Reach::Below(1.0),
    },
    Claim {
        of: "nofault-futures-foreign",
        against: Against::Peer("bare-plain"),
        reach: Reach::AtMost(1.10),
    },
    Claim {
        of: "nofault-handle-pinned",
        against: Against::All(Kind::Blocking),
        reach: Reach::AtMost(0.7),
    },
    Claim {
        of: "nofault-handle-foreign",
        against: Against::All(Kind::Blocking),
        reach: Reach::AtMost(0.7),
    },
];

/// One ratio that was measured.
#[derive(Serialize)]
pub(crate) struct Ratio {
    pub(crate) cell: Cell,
    pub(crate) of: &'static str,
    pub(crate) against: &'static str,
    /// CPU per request of the one, divided by that of the other.
    pub(crate) ratio: f64,
    pub(crate) to_reach: String,
    pub(crate) reached: bool,
}

/// All ratios of these results.
pub(crate) fn of(results: &[(Cell, Vec<(&'static str, Outcome)>)]) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    for (cell, outcomes) in results.iter().filter(|(cell, _)| cell.depth == DEPTH) {
        let cpu = |name: &str| match outcomes.iter().find(|(peer, _)| *peer == name)? {
            (_, Outcome::Measured(figures)) => Some(figures.cpu_us_per_op),
            _ => None,
        };
        for claim in CLAIMS {
            let Some(own) = cpu(claim.of) else { continue };
            let others = peers::ALL.iter().filter(|entry| match claim.against {
                Against::Peer(name) => entry.name == name,
                Against::All(kind) => entry.kind == kind,
            });
            for other in others {
                let Some(theirs) = cpu(other.name) else {
                    continue;
                };
                let ratio = own / theirs;
                let (to_reach, reached) = match claim.reach {
                    Reach::AtMost(limit) => (format!("at most {limit:.2}"), ratio <= limit),
                    Reach::Below(limit) => (format!("below {limit:.2}"), ratio < limit),
                };
                ratios.push(Ratio {
                    cell: cell.clone(),
                    of: claim.of,
                    against: other.name,
                    ratio,
                    to_reach,
                    reached,
                });
            }
        }
    }
    ratios
}
