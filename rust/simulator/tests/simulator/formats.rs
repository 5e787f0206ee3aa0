//! Each format that is read.

use serde_json::json;

use crate::helpers::{Folder, assert_close, brief, of_file, report};

#[test]
fn azure() {
    let folder = Folder::new();
    let text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
                2023-11-16 18:15:46.6805900,374,44\r\n\
                2023-11-16 18:15:50.9951690,396,109\r\n\
                2023-11-16 18:15:50.9951690,879,55";
    let report = report(&of_file("azure", &folder.file("trace.csv", text)));
    assert_eq!((report.arrived, report.finished), (3, 3));
    assert_close(report.throughput.output_tokens_per_s * report.simulated_seconds, 208.0);
    assert_close(report.throughput.prompt_tokens_per_s * report.simulated_seconds, 1649.0);
    // The last arrival is after 4.314579 s, and one of those two has 109 tokens.
    assert_close(report.simulated_seconds, 4.314_579 + 109.0 * 0.02);
}

#[test]
fn columns_may_be_in_any_order_and_have_companions() {
    let folder = Folder::new();
    let text = "tenant,GeneratedTokens,TIMESTAMP,priority,ContextTokens,class,max_tokens,deadline_ms\n\
                alice,5,2023-11-16 18:15:46,-3,10,chat,9,1000\n\
                ,7,2023-11-16 18:15:47,,20,,,\n";
    let csv = folder.path("requests.csv");
    let mut setup = of_file("azure", &folder.file("trace.csv", text));
    setup["csv"] = json!(csv);
    assert_eq!(report(&setup).finished, 2);
    let text = std::fs::read_to_string(csv).expect("it was written");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| rows[0].iter().position(|column| *column == name).expect("the column is there");
    assert_eq!((rows[1][column("prompt_tokens")], rows[1][column("output_tokens")]), ("10", "5"));
    assert_eq!((rows[1][column("priority")], rows[2][column("priority")]), ("-3", "0"));
    assert_ne!(rows[1][column("tenant")], "0");
    assert_eq!((rows[2][column("tenant")], rows[2][column("class")]), ("0", "0"));
}

#[test]
fn burstgpt_without_what_failed_there() {
    let folder = Folder::new();
    let text = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
                5,ChatGPT,472,18,490,Conversation log\n\
                45.5,GPT-4,1087,0,1087,API log\n\
                118,GPT-4,417,276,693,\"API log, new\"\n";
    let report = report(&of_file("burstgpt", &folder.file("trace.csv", text)));
    assert_eq!(report.finished, 2);
    assert_close(report.simulated_seconds, 113.0 + 276.0 * 0.02);
}

#[test]
fn mooncake_blocks_are_cached() {
    let folder = Folder::new();
    let lines = [
        json!({"timestamp": 0, "input_length": 1200, "output_length": 3, "hash_ids": [0, 1, 2]}),
        json!({"timestamp": 1000, "input_length": 1300, "output_length": 3, "hash_ids": [0, 1, 3]}),
        json!({"timestamp": 2000, "input_length": 600, "output_length": 3, "hash_ids": [0, 4]}),
    ];
    let text = lines.map(|line| line.to_string()).join("\n");
    let report = report(&of_file("mooncake", &folder.file("trace.jsonl", &text)));
    assert_eq!(report.finished, 3);
    // The second shares two blocks of 512 tokens, the third one.
    assert_close(report.prefix_hit_rate, (1024.0 + 512.0) / (1200.0 + 1300.0 + 600.0));
}

#[test]
fn mooncake_blocks_may_have_another_size() {
    let folder = Folder::new();
    let line = json!({"timestamp": 0, "input_length": 64, "output_length": 1, "hash_ids": [7, 8, 9, 10]}).to_string();
    let other = json!({"timestamp": 900, "input_length": 64, "output_length": 1, "hash_ids": [7, 8, 11, 12]});
    let mut setup = of_file("mooncake", &folder.file("trace.jsonl", &format!("{line}\n\n{other}\n")));
    setup["workload"]["source"]["block_tokens"] = json!(16);
    assert_close(report(&setup).prefix_hit_rate, 32.0 / 128.0);
}

#[test]
fn sharegpt_in_all_its_forms() {
    let folder = Folder::new();
    let lengths = |text: &str| {
        let mut setup = of_file("sharegpt", &folder.file("lengths.json", text));
        setup["workload"]["arrivals"] = json!({"kind": "constant"});
        setup["workload"]["rate"] = json!(1);
        let report = report(&setup);
        let tokens = |a_second: f64| (a_second * report.simulated_seconds).round() as u64;
        let Throughput { prompt, output } = Throughput {
            prompt: tokens(report.throughput.prompt_tokens_per_s),
            output: tokens(report.throughput.output_tokens_per_s),
        };
        (report.finished, prompt, output, report.prefix_hit_rate)
    };
    assert_eq!(lengths("[[10, 2], [20, 3]]"), (2, 30, 5, 0.0));
    assert_eq!(lengths("[10, 2]\n[20, 3]\n"), (2, 30, 5, 0.0));
    assert_eq!(lengths("{\"prompt_tokens\": 10, \"output_tokens\": 2}\n"), (1, 10, 2, 0.0));
    assert_eq!(
        lengths(
            "[\n {\"prompt_len\": 10, \"x\": \"]\\\"\",\n  \"output_len\": 2},\n {\"input_length\": 20, \"output_length\": 3}]"
        ),
        (2, 30, 5, 0.0)
    );
    let conversation = json!([{"id": "a", "conversations": [
        {"from": "human", "value": 40}, {"from": "gpt", "value": 10},
        {"from": "human", "value": 20}, {"from": "gpt", "value": 30},
    ]}]);
    // The second prompt is 40 + 10 + 20 tokens, of which three pages of 16 are cached.
    assert_eq!(lengths(&conversation.to_string()), (2, 110, 40, 48.0 / 110.0));
}

struct Throughput {
    prompt: u64,
    output: u64,
}

#[test]
fn a_journal_of_a_simulation_simulates_the_same() {
    let folder = Folder::new();
    let journal = folder.path("journal");
    let mut setup = crate::helpers::busy(3);
    setup["journal"] = json!(journal);
    let first = report(&setup);
    assert!(first.prefix_hit_rate > 0.0 && first.evictions > 0, "a busy run: {}", brief(&first));
    let again = json!({
        "workload": {"source": {"kind": "journal", "path": journal}},
        "cost": setup["cost"], "scheduler": setup["scheduler"], "slo": setup["slo"], "seed": setup["seed"],
    });
    let second = report(&again);
    assert_eq!(second.ttft_ms, first.ttft_ms);
    assert_eq!(second.itl_ms, first.itl_ms);
    assert_eq!(second.e2e_ms, first.e2e_ms);
    assert_eq!((second.evictions, second.steps), (first.evictions, first.steps));
}
