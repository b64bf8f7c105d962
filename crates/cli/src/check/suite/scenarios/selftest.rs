//! Scenarios that go wrong on purpose, to test what watches over the others.

use super::super::{Context, Outcome, Scenario, Stop};

pub(super) static ALL: &[Scenario] = &[
    Scenario {
        name: "selftest-pass",
        number: "",
        story: "",
        randomised: true,
        run: |_| Ok(()),
    },
    Scenario {
        name: "selftest-fail",
        number: "",
        story: "",
        randomised: true,
        run: |_| Err(Stop::Fail("as asked\nfor".to_owned())),
    },
    Scenario {
        name: "selftest-skip",
        number: "",
        story: "",
        randomised: false,
        run: |_| Err(Stop::Skip("as asked for".to_owned())),
    },
    Scenario {
        name: "selftest-panic",
        number: "",
        story: "",
        randomised: false,
        run: |_| panic!("as asked for"),
    },
    Scenario {
        name: "selftest-crash",
        number: "",
        story: "",
        randomised: false,
        run: |_| std::process::abort(),
    },
    Scenario {
        name: "selftest-hang",
        number: "",
        story: "",
        randomised: false,
        run: hang,
    },
];

fn hang(cx: &Context) -> Outcome {
    // The file shows that the directory is removed with what is in it.
    std::fs::write(cx.path("left"), "something")?;
    loop {
        std::thread::park();
    }
}
