//! Callbacks for recharges: reads lines of `number fen` and prints for each what COPY takes: account, number, headers, body. WeChat's, or
//! Alipay's where `alipay` is said. With `keys` it prints the statements that set up both accounts. For the bench.

use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let word = std::env::args().nth(1);
    let mut out = io::BufWriter::new(io::stdout().lock());
    if word.as_deref() == Some("keys") {
        return writeln!(out, "{};", mps_sender::set_up());
    }
    for line in io::stdin().lock().lines() {
        let line = line?;
        let Some((order, fen)) = line.split_once(' ') else { continue };
        let fen: i64 = fen.trim().parse().map_err(io::Error::other)?;
        let trade = format!("T{order}");
        let (account, callback) = if word.as_deref() == Some("alipay") {
            let yuan = format!("{}.{:02}", fen / 100, fen % 100);
            ("alipay", mps_sender::alipay(order, &trade, &yuan, "TRADE_SUCCESS", &[]))
        } else {
            ("wechat", mps_sender::Payment { order, trade: &trade, fen, state: "SUCCESS" }.sent())
        };
        let body = data_encoding::HEXLOWER.encode(&callback.body);
        writeln!(out, "{account}\t{order}\t{}\t\\\\x{body}", callback.headers)?;
    }
    out.flush()
}
