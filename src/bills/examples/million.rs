//! A bill of a million lines, written and read: how long it takes and how much memory.
//!
//!     cargo run --release -p mps-bills --example million            wechat gzip, wechat ZIP, alipay gzip, alipay ZIP
//!     cargo run --release -p mps-bills --example million -- 100000  with as many lines
//!
//! Each is read in a process of its own, so that the peak of its memory is its own.

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};
use mps_bills::{Account, Asked, Day, Entry, Kind, Limits};
use std::io::{self, BufWriter, Write};
use std::process::Command;
use std::time::Instant;

const SELLER: &str = "2088102147948060";

fn wechat(out: &mut dyn Write, lines: u64) -> io::Result<()> {
    out.write_all("\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,".as_bytes())?;
    out.write_all("应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,".as_bytes())?;
    out.write_all("手续费,费率,订单金额,申请退款金额,费率备注\r\n".as_bytes())?;
    let (mut fen, mut fee) = (0, 0);
    for i in 0..lines {
        let (second, paid) = (i * 86_400 / lines, 1 + i * 7919 % 100_000);
        let yuan = format!("{}.{:02}", paid / 100, paid % 100);
        let line_fee = paid * 6;
        write!(
            out,
            "`2026-11-25 {:02}:{:02}:{:02},`wxd678efh567hg6787,`1900000109,`0,`,",
            second / 3600,
            second / 60 % 60,
            second % 60
        )?;
        write!(out, "`4200002611251{:015},`CZ2611{i:09},`oUpF8uMuAJO_M2pxb1Q9{:08x},", i * 7, i * 31)?;
        write!(
            out,
            "`JSAPI,`SUCCESS,`OTHERS,`CNY,`{yuan},`0.00,`0,`0,`0.00,`0.00,`,`,`储值卡充值,`,`{}.{:05},",
            line_fee / 100_000,
            line_fee % 100_000
        )?;
        write!(out, "`0.60%,`{yuan},`0.00,`\r\n")?;
        (fen, fee) = (fen + paid, fee + line_fee);
    }
    let (fee, yuan) = ((fee + 500) / 1000, format!("{}.{:02}", fen / 100, fen % 100));
    out.write_all(
        "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r\n".as_bytes(),
    )?;
    write!(out, "`{lines}.0,`{yuan},`0.00,`0.00,`{}.{:02},`{yuan},`0.00\r\n", fee / 100, fee % 100)
}

/// In GB18030, as the gateway writes it.
fn alipay(out: &mut dyn Write, lines: u64) -> io::Result<()> {
    let mut gbk = |text: &str| out.write_all(&encoding_rs::GB18030.encode(text).0);
    gbk(&format!(
        "#支付宝业务明细查询\r\n#账号：[{SELLER}0156]\r\n#起始日期：[2026年11月25日 00:00:00]   终止日期：[2026年11月26日 00:00:00]\r\n"
    ))?;
    gbk("#-----------------------------------------业务明细列表----------------------------------------\r\n")?;
    gbk(
        "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,",
    )?;
    gbk(
        "支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,",
    )?;
    gbk("退款批次号/请求号,服务费（元）,分润（元）,备注\r\n")?;
    let mut fen = 0;
    for i in 0..lines {
        let (second, paid) = (i * 86_400 / lines, 1 + i * 7919 % 100_000);
        let time = format!("2026-11-25 {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        let yuan = format!("{}.{:02}", paid / 100, paid % 100);
        let end = "0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,\t,-0.01,0.00,\r\n";
        let ids = format!("20261125220014{:014}\t,CZ2611{i:09}\t", i * 7);
        gbk(&format!("{ids},交易\t,储值卡充值,{time},{time},\t,\t,\t,\t,*津(602***@qq.com)\t,{yuan},{yuan},{end}"))?;
        fen += paid;
    }
    gbk("#-----------------------------------------业务明细列表结束------------------------------------\r\n")?;
    gbk(&format!("#交易合计：{lines}笔，商家实收共{}.{:02}元，商家优惠共0.00元\r\n", fen / 100, fen % 100))?;
    gbk("#退款合计：0笔，商家实收退款共0.00元，商家优惠退款共0.00元\r\n#导出时间：[2026年11月26日 08:00:00]\r\n")
}

/// Passes on what is written, and keeps what an archive says of it.
struct Counted<W> {
    inner: W,
    crc: Crc,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.crc.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn archive(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    let mut counted = BufWriter::with_capacity(1 << 16, Counted { inner: encoder, crc: Crc::new() });
    write(&mut counted)?;
    let counted = counted.into_inner()?;
    let (packed, crc) = (counted.inner.finish()?, counted.crc);
    let name = b"bill.csv";
    let mut entry = Vec::new();
    [20u16, 0, 8, 0, 33].iter().for_each(|two| entry.extend_from_slice(&two.to_le_bytes()));
    [crc.sum(), packed.len() as u32, crc.amount()].iter().for_each(|four| entry.extend_from_slice(&four.to_le_bytes()));
    entry.extend_from_slice(&[name.len() as u8, 0, 0, 0]);
    let local = [b"PK\x03\x04", &entry[..], name].concat();
    let directory = [b"PK\x01\x02\x14\x00", &entry[..], &[0; 14], name].concat();
    let end =
        [&(directory.len() as u32).to_le_bytes()[..], &((local.len() + packed.len()) as u32).to_le_bytes(), &[0; 2]]
            .concat();
    Ok([&local[..], &packed, &directory, b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &end].concat())
}

fn gzip(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let mut encoder = BufWriter::with_capacity(1 << 16, GzEncoder::new(Vec::new(), Compression::default()));
    write(&mut encoder)?;
    encoder.into_inner()?.finish()
}

/// The peak of this process's memory so far, in kB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn read(gateway: &str, path: &str) -> io::Result<()> {
    let content = std::fs::read(path)?;
    let (sellers, appids) = ([SELLER.to_owned()], ["wxd678efh567hg6787".to_owned()]);
    let account = match gateway {
        "alipay" => Account::Alipay { seller_ids: &sellers },
        _ => Account::Wechat { mchid: "1900000109", sub_mchids: None, appids: &appids },
    };
    let day = Day::new(2026, 11, 25).ok_or(io::Error::other("no day"))?;
    let asked = Asked { kind: Kind::Trade, day, account };
    let (before, started, mut sum) = (peak(), Instant::now(), 0);
    let bill = mps_bills::read(&content, &asked, &Limits::default(), |line| {
        sum += if line.entry == Entry::Payment { line.order_amount } else { 0 };
        Ok::<(), io::Error>(())
    });
    let seconds = started.elapsed().as_secs_f64();
    let bill = bill.map_err(|stopped| io::Error::other(stopped.to_string()))?;
    assert_eq!(bill.payments.amount, sum);
    let (megabytes, more) = (content.len() / 1_000_000, peak() - before);
    println!(
        "{gateway} {:?}: {} lines of {megabytes} MB packed in {seconds:.2} s, {more} kB beside the file",
        bill.packed, bill.lines
    );
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [gateway, path] = &arguments[..] {
        return read(gateway, path);
    }
    let lines = arguments.first().map_or(Ok(1_000_000), |n| n.parse()).map_err(io::Error::other)?;
    for (gateway, is_zip) in [("wechat", false), ("wechat", true), ("alipay", false), ("alipay", true)] {
        let write = |out: &mut dyn Write| if gateway == "wechat" { wechat(out, lines) } else { alipay(out, lines) };
        let content = if is_zip { archive(write)? } else { gzip(write)? };
        let path = std::env::temp_dir().join(format!("bill-{}-{gateway}-{is_zip}", std::process::id()));
        std::fs::write(&path, &content)?;
        let status = Command::new(std::env::current_exe()?).arg(gateway).arg(&path).status();
        std::fs::remove_file(&path)?;
        if !status?.success() {
            return Err(io::Error::other("it was refused"));
        }
    }
    Ok(())
}
