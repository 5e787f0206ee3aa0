//! What is wrong is named, with file and line or setting.

use lightllm_simulator::{Error, Setup};
use serde_json::{Value, json};

use crate::helpers::{Folder, busy, of_file, of_source, try_run};

/// The message of the error, with the folder left out.
fn message(setup: &Value, folder: &Folder) -> String {
    let error = try_run(setup).expect_err("the setup is wrong");
    error.to_string().replace(&format!("{}/", folder.path("").display().to_string().trim_end_matches('/')), "")
}

fn in_file(kind: &str, text: &str) -> String {
    let folder = Folder::new();
    let mut setup = of_file(kind, &folder.file("trace", text));
    if kind == "sharegpt" {
        setup["workload"]["arrivals"] = json!({"kind": "at_once"});
    }
    message(&setup, &folder)
}

const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n";

#[test]
fn azure() {
    let cases = [
        ("", "trace: the file is empty: its first line must be TIMESTAMP,ContextTokens,GeneratedTokens"),
        ("TIMESTAMP,ContextTokens\n", "trace:1: there is no column \"GeneratedTokens\""),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "trace: there is no request in the file"),
        (&format!("{AZURE}2023-11-16 18:15:47,-1,4\n"), "trace:3: ContextTokens: \"-1\" must be a whole number from 1"),
        (&format!("{AZURE}\n2023-11-16 18:15:47,1,0\n"), "trace:4: GeneratedTokens: \"0\" must be"),
        (&format!("{AZURE}2023-11-16 18:15:47,1,99999999999\n"), "trace:3: GeneratedTokens: \"99999999999\" must be"),
        (&format!("{AZURE}2023-11-16 18:15:47,1.5,1\n"), "trace:3: ContextTokens: \"1.5\" must be"),
        (&format!("{AZURE}2023-11-16 18:15:47,1\n"), "trace:3: there is no GeneratedTokens: the line has 2 fields"),
        (&format!("{AZURE}yesterday,1,1\n"), "trace:3: TIMESTAMP: \"yesterday\" must be a time like"),
        (&format!("{AZURE}9023-11-16 18:15:45,1,1\n"), "trace:3: the time is more than 36 years after that of"),
        (&format!("{AZURE}2023-11-16 18:15:45,1,1\n"), "trace:3: the time is 1.68 s before that of the line above"),
    ];
    for (text, expected) in cases {
        let got = in_file("azure", text);
        assert!(got.starts_with(expected), "{got:?} does not begin with {expected:?}");
    }
}

#[test]
fn optional_columns() {
    let text = "TIMESTAMP,ContextTokens,GeneratedTokens,priority\n2023-11-16 18:15:46,1,1,5000\n";
    assert_eq!(in_file("azure", text), "trace:2: priority: \"5000\" must be a whole number from -1000 to 1000");
}

#[test]
fn burstgpt() {
    let header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n";
    let cases = [
        ("Timestamp,Model\n", "trace:1: there is no column \"Request tokens\""),
        (&format!("{header}x,m,1,1,2,l\n"), "trace:2: Timestamp: \"x\" must be a number of seconds"),
        (&format!("{header}-5,m,1,1,2,l\n"), "trace:2: Timestamp: \"-5\" must be a number of seconds"),
        (&format!("{header}NaN,m,1,1,2,l\n"), "trace:2: Timestamp: \"NaN\" must be a number of seconds"),
        (&format!("{header}5,m,1,1,2,l\n4,m,1,1,2,l\n"), "trace:3: the time is 1 s before that of the line above"),
        (&format!("{header}5,m,7,0,7,l\n6,m,7,0,7,l\n"), "trace: every request in the file failed"),
        (&format!("{header}5,m,0,1,2,l\n"), "trace:2: Request tokens: \"0\" must be a whole number from 1"),
    ];
    for (text, expected) in cases {
        let got = in_file("burstgpt", text);
        assert!(got.starts_with(expected), "{got:?} does not begin with {expected:?}");
    }
}

#[test]
fn mooncake() {
    let good = "{\"timestamp\": 5, \"input_length\": 9, \"output_length\": 5, \"hash_ids\": [1]}\n";
    let changed = |from: &str, to: &str| format!("{good}{}", good.replace(from, to));
    let cases = [
        (String::new(), "trace: there is no request in the file"),
        (format!("{good}{{\"timestamp\": 5, "), "trace:2: not a request: EOF while parsing"),
        (changed("input_length", "length"), "trace:2: not a request: missing field `input_length`"),
        (changed("9", "-9"), "trace:2: input_length: -9 must be a whole number from 1 to 16777216"),
        (changed("9", "99999999"), "trace:2: input_length: 99999999 must be"),
        (changed("\"output_length\": 5", "\"output_length\": 0"), "trace:2: output_length: 0 must be"),
        (changed("[1]", "[1, 2]"), "trace:2: hash_ids: 2 ids are more than the 1 blocks of 512 tokens"),
        (changed("\"timestamp\": 5", "\"timestamp\": 4"), "trace:2: the time is 0.001 s before"),
        (changed("\"timestamp\": 5", "\"timestamp\": 18446744074710"), "trace:2: the time is more than 36 years after"),
        (changed("\"timestamp\": 5", "\"timestamp\": 1e300"), "trace:2: timestamp: 1e300 must be a number"),
        (
            changed("[1]", "[1], \"priority\": 1001"),
            "trace:2: priority: 1001 must be a whole number from -1000 to 1000",
        ),
        (changed("[1]", "[1], \"max_tokens\": 0"), "trace:2: max_tokens: 0 must be a whole number from 1 to 16777216"),
        (changed("[1]", "[1], \"deadline_ms\": -1"), "trace:2: deadline_ms: -1 must be a whole number from 0 to"),
        (changed("\"timestamp\": 5", "\"timestamp\": -4"), "trace:2: timestamp: -4 must be a number of milliseconds"),
    ];
    for (text, expected) in cases {
        let got = in_file("mooncake", &text);
        assert!(got.starts_with(expected), "{got:?} does not begin with {expected:?}");
    }
}

#[test]
fn sharegpt() {
    let cases = [
        ("", "trace: there is no request in the file"),
        ("[]", "trace: there is no request in the file"),
        ("[[1, 2],\n[3, 4]\n", "trace:2: the file ends within the list"),
        ("[[1, 2],\n[3, ", "trace:2: the file ends within a request"),
        ("[[1, 2],\n[3, -4]]", "trace:2: output_tokens: -4 must be"),
        ("[[1, 2],\n{\"a\": 1}]", "trace:2: not a request: it must be [prompt, output]"),
        ("[[1, 2],\n{\"a\": }]", "trace:2: not a request: expected value"),
        ("[[1, 2]]\nx", "trace:2: there is something behind the end of the list"),
        ("17", "trace:1: each request must be a JSON object or a pair"),
        ("[{\"conversations\": [{\"from\": \"human\", \"value\": \"hello\"}]}]", "trace:1: not a request: it must be"),
    ];
    for (text, expected) in cases {
        let got = in_file("sharegpt", text);
        assert!(got.starts_with(expected), "{got:?} does not begin with {expected:?}");
    }
}

#[test]
fn journals() {
    let cases = [
        ("", "trace: "),
        ("{\"journal\":99}\n", "trace"),
        ("{\"journal\":1,\"tokens\":false,\"config\":{}}\n{\"add\":1}\n{}\n", "trace:2: "),
    ];
    for (text, expected) in cases {
        let got = in_file("journal", text);
        assert!(got.starts_with(expected), "{got:?} does not begin with {expected:?}");
    }
    let folder = Folder::new();
    let journal = folder.path("journal");
    let mut setup = busy(1);
    setup["journal"] = json!(journal);
    try_run(&setup).expect("a good setup");
    let mut again = of_file("journal", &journal);
    again["scheduler"]["page_size"] = json!(24);
    assert!(message(&again, &folder).starts_with("scheduler.page_size: 24 is not a multiple of 16"));
}

#[test]
fn files_that_are_not_there() {
    let folder = Folder::new();
    for kind in ["azure", "mooncake", "burstgpt", "journal"] {
        let got = message(&of_file(kind, &folder.path("nothing")), &folder);
        assert!(got.starts_with("nothing: No such file"), "{got}");
    }
    let mut setup = busy(1);
    setup["csv"] = json!(folder.path("no/such/folder.csv"));
    assert!(message(&setup, &folder).starts_with("no/such/folder.csv: No such file"));
}

#[test]
fn settings() {
    let constant = json!({"kind": "constant", "tokens": 10});
    let endless = of_source(&json!({"kind": "synthetic", "prompt": constant, "output": constant}));
    let mut late = busy(1);
    late["workload"]["rate"] = json!(1e-6);
    late["workload"]["rate_scale"] = json!(1e-2);
    let changed = |path: &str, to: Value| {
        let mut setup = busy(1);
        *setup.pointer_mut(&path[..path.rfind('/').expect("a path")]).expect("it is there") = {
            let mut parent = setup.pointer(&path[..path.rfind('/').expect("a path")]).expect("it is there").clone();
            parent[&path[path.rfind('/').expect("a path") + 1..]] = to;
            parent
        };
        setup
    };
    let cases = [
        (endless, "limits: a synthetic workload has no end"),
        (changed("/workload/arrivals", json!({"kind": "trace"})), "workload.arrivals: the source has no times"),
        (changed("/workload/rate", Value::Null), "workload.rate: random arrivals need a rate"),
        (changed("/workload/rate", json!(-1)), "workload.rate: must be from"),
        (changed("/workload/arrivals", json!({"kind": "gamma", "shape": 0})), "workload.arrivals.shape: 0 must be"),
        (changed("/workload/arrivals", json!({"kind": "closed", "clients": 2})), "workload.rate: clients in a closed"),
        (late, "workload.rate: requests arrive after more than 36 years"),
        (changed("/workload/n", json!(0)), "workload.n: is 0"),
        (changed("/workload/priorities", json!([1001])), "workload.priorities: 1001 is not"),
        (changed("/workload/max_tokens", json!(0)), "workload.max_tokens: is 0"),
        (changed("/workload/source/prompt", json!({"kind": "uniform", "min": 2, "max": 1})), "workload.source.prompt:"),
        (changed("/slo/ttft_ms", json!(0)), "slo.ttft_ms: must be above 0"),
        (changed("/limits/seconds", json!(0)), "limits.seconds: must be above 0"),
        (changed("/cost/base_ms", json!(-1)), "cost.base_ms: is -1"),
        (changed("/cost/base_ms", json!(1e300)), "cost.base_ms: is 1e300: it must be from 0"),
        (changed("/cost/version", json!(2)), "cost.version: is 2"),
        (changed("/scheduler/pages", json!(0)), "scheduler: pages: is 0"),
    ];
    for (setup, expected) in cases {
        let got = try_run(&setup).expect_err("the setting is wrong").to_string();
        assert!(got.starts_with(expected), "{got:?} does not begin with {expected:?}");
    }
}

#[test]
fn unknown_names_list_what_is_known() {
    let read = |scheduler: Value| {
        let mut setup = busy(1);
        setup["scheduler"] = scheduler;
        Setup::read(setup).expect_err("the name is unknown").to_string()
    };
    let got = read(json!({"policy": "best"}));
    assert!(got.contains("\"best\"") && got.contains("past_future") && got.contains("conservative"), "{got}");
    let got = read(json!({"policy": {"name": "aggressive", "reserve": 1}}));
    assert!(got.contains("\"reserve\"") && got.contains("watermark"), "{got}");
    let got = read(json!({"mode": "best"}));
    assert!(got.contains("`best`") && got.contains("chunked"), "{got}");
    let got = read(json!({"page": 1}));
    assert!(got.contains("`page`") && got.contains("page_size"), "{got}");
    let policy = json!({"scheduler": {"policy": {"name": "aggressive", "watermark": 0.5}}});
    let mut setup = busy(1);
    setup["scheduler"] = policy["scheduler"].clone();
    serde_json::from_value::<Setup>(setup).expect("a policy with one parameter");
}

#[test]
fn what_can_not_be_read_is_named_by_its_path() {
    let cases = [
        (
            "/scheduler",
            json!({"order": {"bypass_limit": -1}}),
            "scheduler.order.bypass_limit: invalid value: integer `-1`",
        ),
        ("/scheduler", json!({"pages": "abc"}), "scheduler.pages: invalid type: string \"abc\""),
        ("/scheduler", json!({"slots": 1.5}), "scheduler.slots: invalid type: floating point `1.5`"),
        ("/scheduler", json!({"mode": "foo"}), "scheduler.mode: unknown variant `foo`, expected one of `chunked`"),
        ("/scheduler", json!({"policy": "foo"}), "scheduler.policy"),
        ("/scheduler", json!(3), "scheduler: invalid type"),
        ("/seed", json!(-1), "seed: invalid value: integer `-1`"),
        ("/workload/tenants", json!("x"), "workload.tenants: invalid type"),
        ("/cost", json!({"version": 1, "kind": "constant"}), "cost: missing field `ms`"),
        ("", json!({}), "setup: missing field `workload`"),
    ];
    for (pointer, value, expected) in cases {
        let mut setup = busy(1);
        *setup.pointer_mut(pointer).expect("it is there") = value;
        let got = Setup::read(setup).expect_err("it can't be read").to_string();
        assert!(got.starts_with(expected), "{got:?} does not begin with {expected:?}");
    }
}

#[test]
fn a_stop_is_an_error_of_its_own() {
    let setup: Setup = serde_json::from_value(busy(1)).expect("a good setup");
    let stopped = lightllm_simulator::run(&setup, &mut |_| std::ops::ControlFlow::Break(()));
    assert_eq!(stopped.expect_err("it was stopped"), Error::Stopped);
}
