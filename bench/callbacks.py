"""What a callback of a payment gateway costs, beside a backend's word of the same and a charge."""
import statistics
import subprocess
import sys

CALLS = 1_000
CLIENTS = 2
SENDER = ["tools/cargo", "run", "--quiet", "--release", "-p", "mps-sender", "--example", "callbacks", "--"]
SET_UP = """
    CREATE TABLE bench.callbacks (n bigserial PRIMARY KEY, account text, tx_no text, headers jsonb, body bytea);
    CREATE SEQUENCE bench.next_callback;
    GRANT SELECT ON bench.callbacks TO bench_backend; GRANT USAGE ON SEQUENCE bench.next_callback TO bench_backend;
"""
# Members ask, each for its own card.
ASK = """
    TRUNCATE bench.callbacks RESTART IDENTITY;
    ALTER SEQUENCE bench.next_callback RESTART;
    DO $$
    DECLARE v record; v_tx_no text;
    BEGIN
        FOR v IN SELECT c.n, c.card_id FROM bench.codes c WHERE c.n <= {cards} ORDER BY random() LIMIT {count} LOOP
            SET LOCAL ROLE bench_member;
            PERFORM set_config('request.jwt.claims', '{{"sub": "00000000-0000-7000-8000-' || lpad(to_hex(v.n), 12, '0') || '"}}', true);
            SELECT r.tx_no INTO v_tx_no FROM app.user_recharge_personal_card(v.card_id, 10.00) r;
            RESET ROLE;
            INSERT INTO bench.callbacks (tx_no) VALUES (v_tx_no);
        END LOOP;
    END $$;
    VACUUM ANALYZE bench.callbacks;
"""


def sent(words, numbers=""):
    done = subprocess.run([*SENDER, *words], input=numbers, text=True, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def asked(shop, psql, sender):
    """As many recharges that wait as one round takes; what the gateway sends for them, unless a backend says it."""
    for statement in ASK.format(cards=shop.cards, count=CALLS * CLIENTS).split(";\n    VACUUM"):
        psql(shop.name, statement if statement.startswith("\n") else "VACUUM" + statement)
    if sender:
        numbers = psql(shop.name, "SELECT tx_no || ' 1000' FROM bench.callbacks ORDER BY n")
        psql(shop.name, "TRUNCATE bench.callbacks RESTART IDENTITY")
        copy = "\\copy bench.callbacks (account, tx_no, headers, body) FROM STDIN"
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", shop.name, "-c", copy], input=sent([sender], numbers), text=True, check=True)
        psql(shop.name, "VACUUM ANALYZE bench.callbacks")


def section(shop, psql, table, rounds):
    psql(shop.name, sent(["keys"]))
    psql(shop.name, SET_UP)
    results = {}
    for _ in range(rounds):
        for label, script, sender in (("charge", "charge", None), ("confirm_recharge", "confirm", None),
                                      ("callback of WeChat Pay", "callback", "wechat"), ("callback of Alipay", "callback", "alipay")):
            user = "bench_client"
            if script != "charge":
                asked(shop, psql, sender)
                user = "bench_backend"
            results.setdefault(label, []).append(shop.measure(script=script, user=user, calls=CALLS, clients=CLIENTS))
    lost = psql(shop.name, "SELECT count(*) FROM app.gateway_events WHERE outcome <> 'credited'")
    if lost != "0":
        sys.exit(f"{lost} callbacks did not credit")
    medians = {label: {k: statistics.median(r[k] for r in rows) for k in rows[0]} for label, rows in results.items()}
    table("A callback that credits: verified (RSA-2048), decrypted, recorded, posted", medians, "charge")
