//! The messages of `tests/vectors`, and the keys that they are verified with.
// Each test file uses its part.
#![allow(dead_code)]

use mps_notices::keys::PublicKey;
use mps_notices::secret::Apiv3Key;
use mps_notices::{Refusal, alipay, wechat};
use serde_json::Value;

pub fn file(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(text).collect()
}

/// A PEM that says it were of another kind of key: what its label says is enough to refuse it.
pub fn relabelled(pem: &str, kind: &str) -> String {
    pem.replace("PUBLIC", kind)
}

fn pairs<T>(value: &Value, read: impl Fn(&str) -> T) -> Vec<(String, T)> {
    value.as_object().unwrap().iter().map(|(id, key)| (id.clone(), read(text(key)))).collect()
}

fn lent<T>(keys: &[(String, T)]) -> Vec<(&str, &T)> {
    keys.iter().map(|(id, key)| (id.as_str(), key)).collect()
}

/// A message as WeChat sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub name: String,
    pub timestamp: String,
    pub nonce: String,
    pub signature: String,
    pub serial: String,
    pub signature_type: Option<String>,
    pub body: Vec<u8>,
}

impl Message {
    fn read(value: &Value) -> Message {
        let field = |name: &str| text(&value[name]).to_owned();
        Message {
            name: field("name"),
            timestamp: field("timestamp"),
            nonce: field("nonce"),
            signature: field("signature"),
            serial: field("serial"),
            signature_type: Some("WECHATPAY2-SHA256-RSA2048".to_owned()),
            body: field("body").into_bytes(),
        }
    }

    /// What is sent of it.
    pub fn sent(&self) -> (wechat::Headers<'_>, &[u8]) {
        (self.headers(), &self.body)
    }

    pub fn headers(&self) -> wechat::Headers<'_> {
        wechat::Headers {
            timestamp: Some(&self.timestamp),
            nonce: Some(&self.nonce),
            signature: Some(&self.signature),
            serial: Some(&self.serial),
            signature_type: self.signature_type.as_deref(),
        }
    }
}

/// A form as Alipay sends it.
pub struct Form {
    pub name: String,
    pub body: Vec<u8>,
    /// What was signed.
    pub signed: Vec<u8>,
}

pub struct Made {
    pub all: Value,
    pub now: i64,
    pub wechat_keys: Vec<(String, PublicKey)>,
    pub apiv3_keys: Vec<(String, Apiv3Key)>,
    pub alipay_keys: Vec<(String, PublicKey)>,
}

impl Made {
    pub fn read() -> Made {
        let all = file("made");
        Made {
            now: all["now"].as_i64().unwrap(),
            wechat_keys: pairs(&all["wechat_keys"], |pem| PublicKey::wechat(pem).unwrap()),
            apiv3_keys: pairs(&all["apiv3_keys"], |key| Apiv3Key::new(key.as_bytes()).unwrap()),
            alipay_keys: pairs(&all["alipay_keys"], |key| PublicKey::alipay(key).unwrap()),
            all,
        }
    }

    pub fn messages(&self) -> Vec<Message> {
        self.all["wechat"].as_array().unwrap().iter().map(Message::read).collect()
    }

    pub fn message(&self, name: &str) -> Message {
        self.messages().into_iter().find(|m| m.name == name).unwrap()
    }

    pub fn refused_messages(&self) -> Vec<(String, Message)> {
        let refused = self.all["wechat_refused"].as_array().unwrap();
        refused.iter().map(|v| (text(&v["reason"]).to_owned(), Message::read(v))).collect()
    }

    pub fn forms(&self) -> Vec<Form> {
        self.all["alipay"].as_array().unwrap().iter().map(form).collect()
    }

    pub fn form(&self, name: &str) -> Form {
        self.forms().into_iter().find(|f| f.name == name).unwrap()
    }

    pub fn refused_forms(&self) -> Vec<(String, Form)> {
        let refused = self.all["alipay_refused"].as_array().unwrap();
        refused.iter().map(|v| (text(&v["reason"]).to_owned(), form(v))).collect()
    }

    pub fn wechat_keys(&self) -> Vec<(&str, &PublicKey)> {
        lent(&self.wechat_keys)
    }

    pub fn apiv3_keys(&self) -> Vec<(&str, &Apiv3Key)> {
        lent(&self.apiv3_keys)
    }

    pub fn alipay_keys(&self) -> Vec<(&str, &PublicKey)> {
        lent(&self.alipay_keys)
    }

    /// All the way; the id of the key and the notice.
    pub fn wechat(&self, message: &Message) -> Result<(String, wechat::Notice), Refusal> {
        self.wechat_with(&message.headers(), &message.body)
    }

    pub fn wechat_with(&self, headers: &wechat::Headers, body: &[u8]) -> Result<(String, wechat::Notice), Refusal> {
        let keys = self.wechat_keys();
        let verified = wechat::verify(headers, body, &keys, self.now)?;
        Ok((verified.key_id().to_owned(), verified.notice(&self.apiv3_keys())?))
    }

    pub fn alipay(&self, body: &[u8]) -> Result<(String, alipay::Notice), Refusal> {
        let keys = self.alipay_keys();
        let verified = alipay::verify(body, &keys)?;
        Ok((verified.key_id().to_owned(), verified.notice()?))
    }

    pub fn payment(&self, name: &str) -> wechat::Payment {
        match self.wechat(&self.message(name)).unwrap().1.content {
            wechat::Content::Payment(payment) => payment,
            other => panic!("{name}: {other:?}"),
        }
    }

    pub fn trade(&self, name: &str) -> alipay::Trade {
        match self.alipay(&self.form(name).body).unwrap().1.content {
            alipay::Content::Trade(trade) => *trade,
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn form(value: &Value) -> Form {
    let signed = data_encoding::BASE64.decode(text(&value["signed"]).as_bytes()).unwrap();
    Form { name: text(&value["name"]).to_owned(), body: text(&value["body"]).as_bytes().to_vec(), signed }
}
