#!/usr/bin/env python3
"""Writes made.json: keys, certificates and messages as WeChat Pay and Alipay would sign and encrypt them, made by OpenSSL."""
import base64
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote_plus

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

NOW = 1795660496  # 2026-11-26T10:34:56+08:00
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def new_key(bits=2048, exponent=65537):
    return rsa.generate_private_key(public_exponent=exponent, key_size=bits)


def pem(key):
    return key.public_key().public_bytes(PEM, SPKI).decode()


def bare(key):
    return base64.b64encode(key.public_key().public_bytes(DER, SPKI)).decode()


def tagged(tag, content):
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big") if len(content) > 127 else b""
    return bytes([tag, 0x80 | len(length)]) + length + content if length else bytes([tag, len(content)]) + content


def bare_of(modulus, exponent):
    """Of numbers that no library makes a key of."""
    whole = lambda n: tagged(2, n.to_bytes(n.bit_length() // 8 + 1, "big"))
    rsa_encryption = bytes.fromhex("300d06092a864886f70d0101010500")
    key = tagged(0x30, whole(modulus) + whole(exponent))
    return base64.b64encode(tagged(0x30, rsa_encryption + tagged(3, b"\0" + key))).decode()


def certificate(key, serial):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tenpay.com sign"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "腾讯")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(serial)
    made = made.not_valid_before(datetime.datetime(2025, 1, 1)).not_valid_after(datetime.datetime(2030, 1, 1))
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(PEM).decode()


def certificate_by_openssl(key, serial):
    """With a serial of 160 bits, which the library does not write."""
    private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with tempfile.NamedTemporaryFile() as file:
        file.write(private)
        file.flush()
        return subprocess.run(["openssl", "req", "-x509", "-new", "-key", file.name, "-subj", "/CN=Tenpay.com sign", "-days", "3650",
                               "-set_serial", f"0x{serial:X}"], check=True, capture_output=True, text=True).stdout


def signature(key, message):
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


class Wechat:
    """A sender with one key and one APIv3 key."""

    def __init__(self, key, serial, secret):
        self.key, self.serial, self.secret = key, serial, secret
        self.count = 0

    def message(self, name, content, event_type="TRANSACTION.SUCCESS", associated="transaction", at=NOW, envelope=(), resource=()):
        self.count += 1
        plain = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
        nonce = os.urandom(6).hex()
        encrypted = AESGCM(self.secret.encode()).encrypt(nonce.encode(), plain, (associated or "").encode())
        inner = {"original_type": "transaction", "algorithm": "AEAD_AES_256_GCM", "ciphertext": base64.b64encode(encrypted).decode(),
                 "associated_data": associated, "nonce": nonce}
        if associated is None:
            del inner["associated_data"]
        outer = {"id": f"EV-{name[:40]}", "create_time": "2026-11-26T10:34:56+08:00", "resource_type": "encrypt-resource",
                 "event_type": event_type, "summary": "支付成功", "resource": {**inner, **dict(resource)}, **dict(envelope)}
        body = json.dumps({k: v for k, v in outer.items() if v is not None}, ensure_ascii=False)
        return self.signed(name, body, at)

    def signed(self, name, body, at=NOW):
        nonce = os.urandom(16).hex()
        sign = signature(self.key, f"{at}\n{nonce}\n{body}\n".encode())
        return {"name": name, "timestamp": str(at), "nonce": nonce, "signature": sign, "serial": self.serial, "body": body}


def payment(state="SUCCESS", **changes):
    content = {"mchid": "1900000109", "appid": "wxd678efh567hg6787", "out_trade_no": "CZ2611000123",
               "transaction_id": "4200002611202611260000000001", "trade_type": "JSAPI", "trade_state": state,
               "trade_state_desc": "支付成功", "bank_type": "CMB_DEBIT", "attach": "", "success_time": "2026-11-26T10:34:56+08:00",
               "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
               "amount": {"total": 10000, "payer_total": 9500, "currency": "CNY", "payer_currency": "CNY"},
               "promotion_detail": [{"coupon_id": "109519", "amount": 500, "goods_detail": [{"goods_id": "M1006", "quantity": 1}]}]}
    content.update(changes)
    return {k: v for k, v in content.items() if v is not None}


def refund(status="SUCCESS", **changes):
    content = {"mchid": "1900000109", "transaction_id": "4200002611202611260000000001", "out_trade_no": "CZ2611000123",
               "refund_id": "50200207182018070300011301001", "out_refund_no": "TX2611000009-1", "refund_status": status,
               "success_time": "2026-11-26T11:00:00+08:00", "user_received_account": "招商银行信用卡0403",
               "amount": {"total": 10000, "refund": 4000, "payer_total": 9500, "payer_refund": 3800}}
    content.update(changes)
    return {k: v for k, v in content.items() if v is not None}


def provider(content, app=True):
    content = {k: v for k, v in content.items() if k not in ("mchid", "appid")}
    apps = {"sp_appid": "wx8888888888888888", "sub_appid": "wxd678efh567hg6999"} if app else {}
    return {**apps, "sp_mchid": "1230000109", "sub_mchid": "1900000200", **content}


def amount(text):
    """A payment whose total is exactly this text of JSON."""
    whole = json.dumps(payment(amount={"total": "HERE", "currency": "CNY"}), ensure_ascii=False)
    return whole.replace('"HERE"', text).encode()


def sealed():
    """An APIv3 key under a master key: version, nonce, key and tag, with what names its place."""
    master, key, nonce, place = "0123456789abcdef" * 4, "3jQzaWizur8Gba7cde1ZJB1kG2e7VfTs", "twelve bytes", ["shop-1", "钥匙"]
    associated = b"mps apiv3 key" + b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in place)
    encrypted = AESGCM(bytes.fromhex(master)).encrypt(nonce.encode(), key.encode(), associated)
    return {"master_key": master, "key": key, "nonce": nonce, "place": place,
            "sealed": base64.b64encode(b"\1" + nonce.encode() + encrypted).decode()}


def wechat_messages(new, old):
    states = ["SUCCESS", "REFUND", "NOTPAY", "CLOSED", "REVOKED", "USERPAYING", "PAYERROR", "ACCEPT", "SOMEDAY"]
    made = [new.message(f"state_{state}", payment(state)) for state in states]
    made += [new.message(f"refund_{status}", refund(status), f"REFUND.{status}", "refund")
             for status in ["SUCCESS", "CLOSED", "PROCESSING", "ABNORMAL", "SOMEDAY"]]
    made += [
        old.message("old_keys", payment()),
        Wechat(new.key, new.serial, old.secret).message("new_key_old_secret", payment()),
        new.message("provider_payment", provider(payment())),
        new.message("provider_refund", provider(refund(), app=False), "REFUND.SUCCESS", "refund"),
        new.message("closed_without_payment", payment("CLOSED", transaction_id="", amount=None, success_time=None)),
        new.message("closed_for_nothing", payment("CLOSED", amount={"total": 0, "currency": "CNY"})),
        new.message("state_decides", payment("CLOSED"), "TRANSACTION.SUCCESS"),
        new.message("state_decides_the_other_way", payment(), "SOMETHING.ELSE"),
        new.message("other_event", {"mchid": "1900000109", "coupon_id": "9"}, "COUPON.USE"),
        new.message("other_event_of_another", {"mchid": "1900000110", "coupon_id": "9"}, "COUPON.USE"),
        new.message("empty_associated_data", payment(), associated=""),
        new.message("no_associated_data", payment(), associated=None),
        new.message("null_associated_data", payment(), associated="", resource={"associated_data": None}),
        new.message("nul_in_attach", payment(attach="a\u0000b", bank_type="\u0000")),
        new.message("half_a_pair", json.dumps(payment(attach="HERE")).replace("HERE", "\\ud83d").encode()),
        new.message("no_utf8_in_attach", json.dumps(payment(attach="HERE")).encode().replace(b"HERE", b"\xe5\x8d")),
        new.message("least", amount("1")),
        new.message("most", amount("99999999999999")),
        new.message("no_currency", payment(amount={"total": 10000})),
        new.message("coupons_paid_all", payment(amount={"total": 10000, "payer_total": 0, "currency": "CNY"})),
    ]
    bad = [
        ("json_form", new.signed("no_json", "not json")),
        ("json_form", new.signed("json_array", "[1]")),
        ("json_form", new.message("content_no_json", b"hello")),
        ("json_form", new.message("content_trailing", json.dumps(payment()).encode() + b"{}")),
        ("json_duplicate", new.message("content_duplicate", json.dumps(payment())[:-1].encode() + b',"trade_state":"SUCCESS"}')),
        ("json_duplicate", new.message("content_duplicate_inside", amount('1,"total":2'))),
        ("json_duplicate", new.signed("duplicate", '{"id":"1","id":"2"}')),
        ("json_too_deep", new.message("too_deep", amount("1" + ',"x":' + "[" * 20 + "]" * 20))),
        ("json_too_large", new.message("too_large", amount("1" + ',"x":[' + "1," * 9000 + "1]"))),
        ("resource_type", new.message("resource_type", payment(), envelope={"resource_type": "plain-resource"})),
        ("field_missing", new.message("no_resource_type", payment(), envelope={"resource_type": None})),
        ("field_missing", new.message("no_id", payment(), envelope={"id": None})),
        ("field_missing", new.message("empty_id", payment(), envelope={"id": ""})),
        ("field_form", new.message("id_no_text", payment(), envelope={"id": 5})),
        ("field_form", new.message("long_id", payment(), envelope={"id": "x" * 129})),
        ("field_missing", new.message("no_resource", payment(), envelope={"resource": None})),
        ("field_form", new.message("resource_no_object", payment(), envelope={"resource": "x"})),
        ("algorithm", new.message("algorithm", payment(), resource={"algorithm": "AEAD_SM4_GCM"})),
        ("field_missing", new.message("no_algorithm", payment(), resource={"algorithm": None})),
        ("cipher_nonce", new.message("short_nonce", payment(), resource={"nonce": "12345678901"})),
        ("cipher_nonce", new.message("long_nonce", payment(), resource={"nonce": "1234567890123"})),
        ("ciphertext_form", new.message("no_base64", payment(), resource={"ciphertext": "!!!!"})),
        ("ciphertext_form", new.message("short_ciphertext", payment(), resource={"ciphertext": base64.b64encode(b"x" * 15).decode()})),
        ("decryption_failed", new.message("other_associated", payment(), resource={"associated_data": "refund"})),
        ("field_form", new.message("associated_no_text", payment(), resource={"associated_data": 5})),
        ("decryption_failed", new.message("other_nonce", payment(), resource={"nonce": "000000000000"})),
        ("decryption_failed", Wechat(new.key, new.serial, "x" * 32).message("unknown_secret", payment())),
        ("field_missing", new.message("no_state", payment(None))),
        ("field_form", new.message("state_no_text", payment(5))),
        ("field_missing", new.message("no_refund_status", refund(None), "REFUND.SUCCESS", "refund")),
        ("field_missing", new.message("no_out_trade_no", payment(out_trade_no=None))),
        ("field_form", new.message("nul_in_out_trade_no", payment(out_trade_no="CZ1\u0000"))),
        ("field_form", new.message("space_in_out_trade_no", payment(out_trade_no="CZ1 "))),
        ("field_missing", new.message("no_transaction_id", payment(transaction_id=None))),
        ("field_missing", new.message("no_amount", payment(amount=None))),
        ("field_missing", new.message("no_total", payment(amount={"payer_total": 5, "currency": "CNY"}))),
        ("field_form", new.message("amount_no_object", payment(amount=10000))),
        ("field_missing", new.message("refund_without_amount", refund(amount=None), "REFUND.SUCCESS", "refund")),
        ("field_missing", new.message("refund_without_refund", refund(amount={"total": 5}), "REFUND.SUCCESS", "refund")),
        ("amount_range", new.message("refund_above_total", refund(amount={"total": 5, "refund": 6}), "REFUND.SUCCESS", "refund")),
        ("amount_range", new.message("refund_of_nothing", refund(amount={"total": 5, "refund": 0}), "REFUND.SUCCESS", "refund")),
        ("field_missing", new.message("no_refund_id", refund(refund_id=None), "REFUND.SUCCESS", "refund")),
        ("field_missing", new.message("no_out_refund_no", refund(out_refund_no=None), "REFUND.SUCCESS", "refund")),
        ("currency", new.message("dollars", payment(amount={"total": 10000, "currency": "USD"}))),
        ("currency", new.message("small_letters", payment(amount={"total": 10000, "currency": "cny"}))),
        ("currency", new.message("payers_dollars", payment(amount={"total": 10000, "currency": "CNY", "payer_currency": "USD"}))),
        ("currency", new.message("refund_in_dollars", refund(amount={"total": 9, "refund": 9, "currency": "USD"}), "REFUND.SUCCESS")),
        ("time_form", new.message("time", payment(success_time="2026-11-26 10:34:56"))),
        ("time_form", new.message("time_no_text", payment(success_time=1795660496))),
    ]
    bad += [("amount_form", new.message(f"amount_{text}", amount(text))) for text in ["1.0", "1e2", "-1", "-0", '"1"', "true", "[1]", "1E0"]]
    bad += [("amount_range", new.message(f"amount_{text}", amount(text))) for text in ["0", "100000000000000", "9" * 400]]
    return made, [{"reason": reason, **message} for reason, message in bad]


def form(name, key, fields, charset="utf-8", without=("sign", "sign_type"), order=None, escape=quote_plus, tell=True, sign_type="RSA2"):
    """A form that is signed over the bytes of `charset`; with tell, it says which."""
    fields = {**fields, **({"charset": charset} if tell else {}), **({"sign_type": sign_type} if sign_type else {})}
    raw = {k: v if isinstance(v, bytes) else v.encode(charset) for k, v in fields.items()}
    message = b"&".join(k.encode() + b"=" + raw[k] for k in sorted(raw) if k not in without)
    raw["sign"] = signature(key, message).encode()
    names = order(list(raw)) if order else list(raw)
    return {"name": name, "body": "&".join(f"{k}={escape(raw[k])}" for k in names), "signed": base64.b64encode(message).decode()}


def trade(status="TRADE_SUCCESS", **changes):
    fields = {"gmt_create": "2026-11-26 10:34:50", "seller_email": "shop@example.com", "subject": "储值卡充值 100 元", "body": "",
              "buyer_id": "2088102534368455", "invoice_amount": "100.00", "notify_id": "2026112600222103456000000000001",
              "fund_bill_list": '[{"amount":"100.00","fundChannel":"ALIPAYACCOUNT"}]', "notify_type": "trade_status_sync",
              "trade_status": status, "receipt_amount": "100.00", "buyer_pay_amount": "95.50", "app_id": "2021000000000001",
              "seller_id": "2088531891668739", "gmt_payment": "2026-11-26 10:34:55", "notify_time": "2026-11-26 10:34:56",
              "version": "1.0", "out_trade_no": "CZ2611000123", "total_amount": "100.00", "trade_no": "2026112622001468450512500001",
              "auth_app_id": "2021000000000001", "point_amount": "0.00"}
    fields.update(changes)
    return {k: v for k, v in fields.items() if v is not None}


def upper_and_lower(raw):
    """Escapes all it can, in small letters."""
    return "".join(f"%{b:02x}" for b in raw)


def alipay_messages(new, old):
    closed = {"gmt_close": "2026-11-26 11:00:00"}
    unpaid = {**closed, "gmt_payment": None, "receipt_amount": None, "buyer_pay_amount": None}
    back = {"gmt_refund": "2026-11-26 11:00:00.320", "out_biz_no": "TX2611000009-1"}
    made = [
        form("paid", new, trade()),
        form("paid_gbk", new, trade(), "gbk"),
        form("paid_gb2312", new, trade(), "gb2312"),
        form("paid_gb18030", new, trade(subject="储值卡 𠀀 €"), "gb18030"),
        form("paid_upper_case_charset", new, trade(charset="GBK"), "gbk", tell=False),
        form("paid_without_charset", new, trade(), tell=False),
        form("paid_old_key", old, trade()),
        form("signed_with_sign_type", new, trade(), without=("sign",)),
        form("signed_with_sign_type_gbk", new, trade(), "gbk", without=("sign",)),
        form("percent_and_plus", new, trade(subject="100% + 5%25 a%2Bb", passback_params="a%3D1%26total_amount%3D9%2B1")),
        form("percent_and_plus_gbk", new, trade(subject="满 100% 送 %41+", passback_params="%D6%D0+%2B"), "gbk"),
        form("and_and_equals", new, trade(subject="a&b=c&d", body="total_amount=9")),
        form("backwards", new, trade(), order=lambda names: sorted(names, reverse=True)),
        form("all_escaped", new, trade(), "gbk", escape=upper_and_lower),
        form("spaces_as_percent_20", new, trade(), escape=lambda raw: quote_plus(raw).replace("+", "%20")),
        form("nul_in_body", new, trade(body="a\u0000b", subject="\u0000")),
        form("subject_of_no_charset", new, trade(subject=b"\xff\xfe")),
        form("waiting", new, trade("WAIT_BUYER_PAY", gmt_payment=None)),
        form("finished", new, trade("TRADE_FINISHED", **closed)),
        form("someday", new, trade("TRADE_SOMEDAY")),
        form("refunded_in_part", new, trade(refund_fee="30.00", **back)),
        form("refunded_more", new, trade(refund_fee="99.99", **back)),
        form("refunded_in_full", new, trade("TRADE_CLOSED", refund_fee="100.00", **back, **closed)),
        form("refunded_in_full_success", new, trade("TRADE_SUCCESS", refund_fee="100.00", **back)),
        form("closed_after_payment", new, trade("TRADE_CLOSED", **closed)),
        form("closed_after_refund", new, trade("TRADE_CLOSED", **{**unpaid, **back})),
        form("closed_unpaid", new, trade("TRADE_CLOSED", **unpaid)),
        form("closed_unpaid_no_refund", new, trade("TRADE_CLOSED", refund_fee="0.00", **unpaid)),
        form("other_type", new, {"notify_id": "n1", "notify_type": "open_app_auth_notify", "app_id": "2021000000000001", "biz": ""}),
        form("least", new, trade(total_amount="0.01")),
        form("most", new, trade(total_amount="999999999999.99")),
        form("whole_yuan", new, trade(total_amount="100", receipt_amount="99.5")),
        form("cny", new, trade(trans_currency="CNY", settle_currency="")),
    ]
    bad = [
        ("sign_type", form("rsa", new, trade(), sign_type="RSA")),
        ("sign_type", form("no_sign_type", new, trade(), sign_type=None)),
        ("charset", form("big5", new, trade(subject="卡", charset="big5"), "big5", tell=False)),
        ("charset", form("utf_16", new, trade(charset="utf-16"), tell=False)),
        ("charset", form("empty_charset", new, trade(charset=""), tell=False)),
        ("signature_wrong", form("another_key", new_key(), trade())),
        ("signature_wrong", form("decoded_twice", new, trade(subject="a%2Bb"), escape=lambda raw: quote_plus(raw).replace("%252B", "%2B"))),
        ("signature_wrong", form("encoded_twice", new, trade(subject="a+b"), escape=lambda raw: quote_plus(raw).replace("a%2Bb", "a%252Bb"))),
        ("form_ambiguous", form("ambiguous", new, trade(subject="A&total_amount=9999.00&tp=", total_amount="0.01"))),
        ("field_missing", form("no_notify_id", new, trade(notify_id=None))),
        ("field_missing", form("no_trade_status", new, trade(None))),
        ("field_missing", form("no_trade_no", new, trade(trade_no=None))),
        ("field_missing", form("empty_out_trade_no", new, trade(out_trade_no=""))),
        ("field_form", form("space_in_out_trade_no", new, trade(out_trade_no="CZ 1"))),
        ("field_form", form("chinese_out_trade_no", new, trade(out_trade_no="充值1"))),
        ("field_form", form("nul_in_trade_no", new, trade(trade_no="1\u0000"))),
        ("field_missing", form("no_total", new, trade(total_amount=None))),
        ("amount_range", form("nothing", new, trade(total_amount="0.00"))),
        ("amount_range", form("too_much", new, trade(total_amount="1000000000000.00"))),
        ("amount_range", form("refunded_too_much", new, trade(refund_fee="100.01"))),
        ("currency", form("dollars", new, trade(trans_currency="USD"))),
        ("time_form", form("time", new, trade(gmt_payment="2026-11-26T10:34:55"))),
        ("time_form", form("time_gbk", new, trade(notify_time="今天"), "gbk")),
    ]
    bad += [("amount_form", form(f"amount_{text}", new, trade(total_amount=text)))
            for text in ["1e2", "-1.00", "+1.00", "1.000", "01.00", "1,000.00", " 1.00", ".5", "1.", "１.00", "NaN"]]
    return made, [{"reason": reason, **message} for reason, message in bad]


def main():
    keys = {"new": new_key(), "old": new_key(), "alipay": new_key(), "alipay_old": new_key(3072), "large": new_key(4096)}
    serials = {"new": 0x5157F09EFDC096DE15EBE81A47057A7232F1B8E1, "old": 0x0D7CE59D1F522D70100000000000000000000001,
               "high": 0xF157F09EFDC096DE15EBE81A47057A7232F1B8E2}
    secrets = {"new": "3jQzaWizur8Gba7cde1ZJB1kG2e7VfTs", "old": "Gba7cde1ZJB1kG2e7VfTs3jQzaWizur8"}
    new = Wechat(keys["new"], f"{serials['new']:X}", secrets["new"])
    old = Wechat(keys["old"], f"{serials['old']:X}", secrets["old"])
    by_id = Wechat(keys["large"], "PUB_KEY_ID_0116000000012026112600000000000001", secrets["new"])
    good, bad = wechat_messages(new, old)
    good.append(by_id.message("public_key_id", payment()))
    alipay_good, alipay_bad = alipay_messages(keys["alipay"], keys["alipay_old"])
    curve = ec.generate_private_key(ec.SECP256R1())
    modulus = keys["alipay"].public_key().public_numbers().n
    assert bare_of(modulus, 65537) == bare(keys["alipay"])
    made = {
        "about": "Made by make.py with Python's cryptography: no key of it is anybody's.",
        "now": NOW,
        "apiv3_keys": secrets,
        "wechat_keys": {new.serial: certificate(keys["new"], serials["new"]), old.serial: certificate(keys["old"], serials["old"]),
                        by_id.serial: pem(keys["large"])},
        "certificates": {f"{serial:X}": certificate_by_openssl(keys["new"], serial) for serial in serials.values()},
        "alipay_keys": {"new": bare(keys["alipay"]), "old": pem(keys["alipay_old"])},
        "alipay_key_forms": [bare(keys["alipay"]), pem(keys["alipay"]), certificate(keys["alipay"], 7)],
        "sealed": sealed(),
        "bad_keys": {
            "key_size": [pem(new_key(1024)), pem(new_key(2040)), pem(new_key(4104))],
            "key_exponent": [bare_of(modulus, e) for e in (0, 1, 2, 65536, 2**33 + 1, 2**64 + 1, modulus - 2)],
            "key_modulus": [bare_of(modulus + 1, 65537)],
            "key_algorithm": [curve.public_key().public_bytes(PEM, SPKI).decode(), certificate(curve, 9)],
            "key_form": [keys["new"].public_key().public_bytes(PEM, serialization.PublicFormat.PKCS1).decode()],
        },
        "wechat": good,
        "wechat_refused": bad,
        "alipay": alipay_good,
        "alipay_refused": alipay_bad,
    }
    Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("made.json")).write_text(
        json.dumps(made, ensure_ascii=True, indent=0) + "\n")


main()
