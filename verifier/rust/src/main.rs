//! `mps-verify KEYS.pem RECEIPT.json [HEADS.json]`: prints what is proved, as one JSON object. Exit status 0: it is proved, and stands; 1: it
//! is proved, and what the shop shows today does not go on from it; 2: nothing is proved.

use mps_verify::{Invalid, Verdict, holding, judge, keys, receipt};
use serde_json::{Value, json};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match verified(&arguments) {
        Ok((said, code)) => {
            println!("{said}");
            ExitCode::from(code)
        }
        Err(why) => {
            eprintln!("mps-verify: {why}");
            ExitCode::from(2)
        }
    }
}

fn read(file: &str) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))
}

fn json_of(file: &str) -> Result<Value, String> {
    serde_json::from_str(&read(file)?).map_err(|e| format!("{file}: {e}"))
}

fn verified(arguments: &[String]) -> Result<(Value, u8), String> {
    let (keys_file, proof_file, heads_file) = match arguments {
        [keys, proof] => (keys, proof, None),
        [keys, proof, heads] => (keys, proof, Some(heads)),
        _ => return Err("KEYS.pem RECEIPT.json [HEADS.json]".into()),
    };
    let said = |Invalid(why)| why.to_owned();
    let keys = keys(&read(keys_file)?).map_err(said)?;
    let given = json_of(proof_file)?;
    let (proved, head) = if given["kind"] == "mps liability 1" {
        let found = holding(&given, &keys).map_err(said)?;
        let proved = json!({
            "card_no": found.card_no,
            "month": found.published.month,
            "balance_cents": found.balance_cents,
            "total_cents": found.published.total_cents,
            "cards": found.published.cards,
        });
        (proved, found.head)
    } else {
        let found = receipt(&given, &keys).map_err(said)?;
        let proved = json!({
            "tx_no": found.movement.tx_no,
            "card_no": found.movement.card_no,
            "change_cents": found.movement.change_cents,
            "balance_after_cents": found.movement.balance_after_cents,
            "posted_at_micros": found.movement.posted_at,
        });
        (proved, found.head)
    };
    let Some(heads_file) = heads_file else {
        return Ok((json!({ "proved": proved, "head_no": head.head_no }), 0));
    };
    let verdict = judge(&head, &json_of(heads_file)?, &keys).map_err(said)?;
    let (shown, code) = match &verdict {
        Verdict::Stands => (json!("stands"), 0),
        Verdict::LostInRestore { why, at } => (json!({ "lost_in_restore": why, "restored_at_micros": at }), 1),
        Verdict::NotShown => (json!("not shown"), 1),
        Verdict::Convicted(why) => (json!({ "convicted": why }), 1),
    };
    Ok((json!({ "proved": proved, "head_no": head.head_no, "verdict": shown }), code))
}
