use crate::cbor::Cbor;
use crate::codec::{Codec, Fault};
use crate::decoder::Decoder;
use crate::json::{parse, put, Json};
use crate::network::{decode64, encode64, handle};
use crate::prelude::*;
use crate::request::Request;
use crate::testing::Host;
use std::io::{Read, Write};
use std::time::Duration;

fn json(text: &str) -> Value {
    parse(text.as_bytes()).unwrap()
}

fn text(value: &Value) -> String {
    let mut out = Vec::new();
    put(value, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn json_comes_back_as_it_went() {
    for line in [
        "null", "true", "[]", "{}", "0", "-1", "18446744073709551615", "-9223372036854775808", "1.0", "-0.5", "1.5e+300",
        "5e-324", "1e-7", "100000000000000000000.0", "1.0e+21", "\"a\\u0000\\b\\f\\n\\r\\t\\\"\\\\ü😀\"",
        "{\"\":[1,{\"a\":null}]}",
    ] {
        let again = text(&json(line));
        assert!(again == line || json(&again) == json(line), "{} became {}", line, again);
    }
    assert_eq!(text(&json("\"\\ud83d\\ude00\\/\\u2028\"")), "\"😀/\\u2028\"");
    assert_eq!(json("\"\\ud83d\""), Value::Text("\u{fffd}".to_string()));
}

#[test]
fn json_that_is_none() {
    for line in [
        "", "nul", "[1", "[1,]", "{\"a\"}", "{\"a\":1,}", "{1:2}", "\"a", "\"\\x\"", "\"\\u12\"", "1 2", "-", "1e999", "+1",
        "\"\u{1}\"",
    ] {
        assert!(parse(line.as_bytes()).is_err(), "{:?} is read", line);
    }
    assert!(parse("[".repeat(99).as_bytes()).is_err());
    assert!(parse(b"\"\xff\"").is_err());
}

#[test]
fn cbor_comes_back_as_it_went() {
    let all = json("[null,true,false,0,23,24,255,256,65535,65536,4294967296,-1,-256,1.5,0.1,\"ü\",[],{\"a\":{}}]");
    for value in [all, Value::Big(u64::MAX), Value::Int(i64::MIN), Value::Float(1e300)] {
        let mut out = vec![];
        Cbor.encode(&value, &mut out);
        assert_eq!(Cbor.decode(&out), Ok((value.clone(), out.len())));
        for cut in 0..out.len() {
            assert_eq!(Cbor.decode(&out[..cut]), Err(Fault::More), "{:?} cut to {}", value, cut);
        }
    }
    assert_eq!(Cbor.decode(&[0xf9, 0x3c, 0x00]), Ok((Value::Float(1.0), 3)));
    assert_eq!(Cbor.decode(&[0xf9, 0x00, 0x01]), Ok((Value::Float(2f64.powi(-24)), 3)));
}

#[test]
fn cbor_that_is_none() {
    for bytes in [
        &[0x41, 0][..], &[0xc0, 0], &[0x5f], &[0x9f], &[0xf7], &[0xf9, 0x7c, 0], &[0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0],
        &[0x61, 0xff], &[0xa1, 1, 1], &[0x9b, 255, 255, 255, 255, 255, 255, 255, 255], &[0xf8, 32],
    ] {
        assert!(matches!(Cbor.decode(bytes), Err(Fault::Bad(_))), "{:?} is read", bytes);
    }
    assert!(matches!(Cbor.decode(&[0x81; 99]), Err(Fault::Bad(_))));
}

/// Whatever comes in, nothing panics, and what is read is written again.
#[test]
fn any_bytes() {
    let mut seed = 1u32;
    let mut random = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random() % 24).map(|_| random()).collect();
        for codec in [&Cbor as &dyn Codec, &Json] {
            let _ = codec.request(&bytes);
            match (Decoder::new(&bytes).skip(0), Decoder::new(&bytes).value(0)) {
                (Ok(_), Err(why)) => assert_eq!(why, Fault::Bad("text that is not UTF-8"), "{:?}", bytes),
                (passed, read) => assert_eq!(passed.is_ok(), read.is_ok(), "{:?}", bytes),
            }
            if let Ok((value, _)) = codec.decode(&bytes) {
                let mut out = Vec::new();
                codec.encode(&value, &mut out);
                assert_eq!(codec.decode(&out), Ok((value, out.len())));
            }
        }
    }
}

/// What is read without a tree is what the tree says, and no part of it is taken for the whole.
#[test]
fn requests_without_a_tree() {
    let event = "{\"run\":\"00\",\"workflow\":\"w\",\"time_ms\":5,\"data\":{\"a\":[1,2.5,null],\"b\":\"\u{fc}\"}}";
    let results = "[{\"step\":\"s\",\"status\":\"ok\",\"data\":true},{\"step\":\"t\",\"status\":\"ok\",\"data\":null}]";
    let run = format!("{{\"event\":{},\"results\":{},\"key\":\"k\",\"deadline_ms\":70000,\"now_ms\":7}}", event, results);
    let item = format!("{{\"event\":{},\"results\":[],\"key\":\"k\"}}", event);
    for (text, known) in [
        (format!("{{\"id\":1,\"run\":{}}}", run), true),
        (format!("{{\"id\":300,\"deliver\":{}}}", run), true),
        ("{\"run\":{},\"id\":1}".to_string(), true),
        (format!("{{\"id\":9,\"batch\":{{\"kind\":\"run\",\"deadline_ms\":1,\"now_ms\":2,\"items\":[{0},{0}]}}}}", item), true),
        ("{\"id\":1,\"run\":{\"new\":1}}".to_string(), false),
        ("{\"id\":1,\"run\":{\"results\":null}}".to_string(), false),
        ("{\"id\":1,\"run\":{\"results\":[{\"error\":{\"code\":\"c\",\"text\":\"t\"}}]}}".to_string(), false),
        ("{\"id\":1,\"wake\":{\"why\":\"timer\",\"now_ms\":3}}".to_string(), false),
        ("{\"id\":1,\"check\":{\"now_ms\":3}}".to_string(), false),
        ("{\"id\":1,\"later\":{}}".to_string(), false),
    ] {
        let mut bytes = Vec::new();
        Cbor.encode(&json(&text), &mut bytes);
        for cut in 0..bytes.len() {
            assert!(!matches!(Cbor.request(&bytes[..cut]), Ok(Some(_))), "{} cut to {} is read", text, cut);
        }
        let tree = Request::of(json(&text)).unwrap();
        match Cbor.request(&bytes).unwrap() {
            Some((request, size)) => assert_eq!((format!("{:?}", request), size, known), (format!("{:?}", tree), bytes.len(), true)),
            None => assert!(!known, "{} is not read", text),
        }
    }
    for none in ["{\"id\":0,\"run\":{}}", "{\"run\":{}}", "{\"id\":1}", "{\"id\":1,\"run\":{},\"deliver\":{}}", "[]"] {
        let mut bytes = Vec::new();
        Cbor.encode(&json(none), &mut bytes);
        assert!(Cbor.request(&bytes).unwrap().is_none(), "{} is read", none);
    }
}

/// A writer that counts what it is asked.
#[derive(Default)]
struct Counted(Vec<Vec<u8>>);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.push(bytes.to_vec());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Each message is one write, the line ends in its bytes too.
#[test]
fn one_write_for_a_message() {
    let mut input = Vec::new();
    for message in ["{\"init\":{}}", "{\"id\":10,\"run\":{\"event\":{\"data\":\"\\n\\n\"}}}"] {
        Cbor.encode(&json(message), &mut input);
    }
    let mut out = Counted::default();
    let mut plugin = Plugin::action("a", |_, _: &(), run| Ok(run.event.data.value()));
    plugin.serve(&input[..], &mut out).unwrap();
    assert_eq!(out.0.len(), 3);
    assert_eq!(Cbor.decode(&out.0[2]).unwrap().0, json("{\"id\":10,\"answer\":{\"data\":\"\\n\\n\"}}"));
}

record! {
    #[derive(Debug)]
    struct Inner { a: u8, list: Vec<f64> }
}

record! {
    #[derive(Debug)]
    struct Outer { inner: Option<Inner>, flag: bool = true, every: Span }
}

impl Config for Outer {}

#[test]
fn records() {
    let outer: Outer = json("{\"inner\":{\"a\":7,\"list\":[1,2.5]},\"more\":1,\"every\":\"1h30m250ms\"}").read().unwrap();
    assert!(outer.flag);
    assert_eq!(outer.every.0, Duration::from_millis(5_400_250));
    assert_eq!(outer.inner.map(|i| (i.a, i.list)), Some((7, vec![1.0, 2.5])));
    for (bad, why) in [
        ("{\"inner\":{\"a\":300}}", "inner.a: want a number of u8, got 300"),
        ("{\"inner\":{\"list\":[1,\"x\"]}}", "inner.list[1]: want number, got text"),
        ("{\"flag\":1}", "flag: want bool, got number"),
        ("[]", "want map, got list"),
        ("{\"every\":\"soon\"}", "every: want a number with a unit, such as 30s, 5m or 250ms, got \"soon\""),
    ] {
        assert_eq!(json(bad).read::<Outer>().unwrap_err().text(), why);
    }
    let plugin = || Plugin::action("a", |_, _: &Outer, _| Ok(()));
    let refused = Host::start(plugin, json("{\"inner\":{\"b\":1}}")).err().unwrap();
    assert_eq!(refused.text(), "config: inner: unknown key \"b\"");
}

record! {
    #[derive(Debug)]
    struct All {
        outer: Outer = json("{}").read().unwrap(),
        number: f64,
        small: i8,
        large: u64,
        name: String = "none".to_string(),
        names: Vec<String>,
        more: Option<bool>,
        counts: std::collections::BTreeMap<String, u8>,
        any: Value,
    }
}

/// What is read of data as it came is what is read of a tree, its errors too.
#[test]
fn data_as_a_tree() {
    for text in [
        "{}",
        "{\"number\":1.5,\"small\":-3,\"large\":18446744073709551615,\"name\":\"\u{fc}\",\"names\":[\"a\",\"b\"]}",
        "{\"number\":7,\"more\":true,\"counts\":{\"a\":1,\"b\":2},\"any\":[1,{\"x\":null}],\"unknown\":{\"deep\":[[]]}}",
        "{\"number\":-7,\"more\":null,\"name\":null,\"names\":null,\"counts\":null,\"any\":null,\"outer\":null}",
        "{\"outer\":{\"inner\":{\"a\":7,\"list\":[1,2.5]},\"flag\":false,\"every\":\"1m\"},\"number\":1e300}",
        "{\"number\":0.1,\"large\":9}",
        "{\"small\":300}",
        "{\"small\":-129}",
        "{\"large\":-1}",
        "{\"large\":1.5}",
        "{\"number\":\"1\"}",
        "{\"number\":null}",
        "{\"name\":1}",
        "{\"names\":[\"a\",1]}",
        "{\"names\":{}}",
        "{\"more\":0}",
        "{\"counts\":{\"a\":256}}",
        "{\"outer\":{\"inner\":{\"list\":[1,\"x\"]}}}",
        "{\"outer\":[]}",
        "[]",
        "null",
    ] {
        let mut bytes = Vec::new();
        Cbor.encode(&json(text), &mut bytes);
        let tree: Result<All> = json(text).read();
        assert_eq!(format!("{:?}", Data::raw(&bytes).read::<All>()), format!("{:?}", tree), "{}", text);
        assert_eq!(Data::raw(&bytes).value(), json(text));
        assert_eq!(Data::raw(&bytes).is_null(), text == "null");
    }
}

/// A host that says several things at once is heard in order, host calls amid a request too.
#[test]
fn all_said_at_once() {
    let mut input = Vec::new();
    for message in [
        "{\"init\":{}}",
        "{\"id\":1,\"run\":{\"key\":\"one\"}}",
        "{\"reply\":{\"n\":1,\"ok\":{\"value\":\"1\"}}}",
        "{\"reply\":{\"n\":2,\"ok\":{}}}",
        "{\"id\":2,\"run\":{\"key\":\"two\"}}",
        "{\"reply\":{\"n\":1,\"ok\":{\"value\":\"2\"}}}",
        "{\"reply\":{\"n\":2,\"ok\":{}}}",
    ] {
        Cbor.encode(&json(message), &mut input);
    }
    for most in [1, 7, 40, input.len()] {
        let mut out = Vec::new();
        let mut plugin = Plugin::action("a", |ctx, _: &(), run| {
            let got: Option<String> = ctx.kv_get("k")?;
            ctx.kv_put("k", 1)?;
            Ok(format!("{} {}", run.key, got.unwrap_or_default()))
        });
        plugin.serve(Slow(&input, most), &mut out).unwrap();
        let (mut at, mut answers) = (0, Vec::new());
        while at < out.len() {
            let (message, size) = Cbor.decode(&out[at..]).unwrap();
            answers.extend(message.get("answer").cloned());
            at += size;
        }
        assert_eq!(answers, [json("{\"data\":\"one 1\"}"), json("{\"data\":\"two 2\"}")], "{} at once", most);
    }
}

/// Reads so many bytes at once.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.1.min(into.len());
        self.0.read(&mut into[..n])
    }
}

fn batch(kind: &str) -> String {
    let item = "{\"event\":{\"data\":D},\"key\":\"k\"}";
    let items: Vec<String> = (1..4).map(|n| item.replace('D', &n.to_string())).collect();
    format!("{{\"id\":1,\"batch\":{{\"kind\":\"{}\",\"deadline_ms\":1000,\"now_ms\":5,\"items\":[{}]}}}}\n", kind, items.join(","))
}

/// What a plugin says to one request in JSON.
fn says(plugin: Plugin<()>, request: &str) -> String {
    let input = format!("{{\"init\":{{}}}}\n{}", request);
    let mut out = Vec::new();
    plugin.json().serve(input.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap().lines().nth(2).unwrap_or("").to_string()
}

#[test]
fn batches() {
    let one = Plugin::action("a", |_, _: &(), run| match run.event.decode::<i64>()? {
        2 => Err(Error::retryable("busy")),
        n => Ok(n * run.deadline_ms),
    });
    assert_eq!(
        says(one, &batch("run")),
        "{\"id\":1,\"answer\":{\"items\":[{\"data\":1000},{\"error\":{\"code\":\"retryable\",\"text\":\"busy\"}},{\"data\":3000}]}}"
    );
    for (count, want) in [(1, "{\"items\":[{\"data\":0}]}"), (0, "batch: 0 outcomes for 3 events"), (4, "batch: 4 outcomes for 3 events")] {
        let all = Plugin::action("a", |_, _: &(), _| Ok(())).batch(move |_, _, _| (0..count).map(|n| Ok(Value::Int(n))).collect());
        let said = says(all, &batch("run"));
        assert!(said.contains(want), "{}", said);
    }
    let output = || Plugin::output("o", |_, _: &(), _| Ok(()));
    assert!(says(output(), &batch("deliver")).contains("{\"items\":[{},{},{}]}"));
    assert!(says(output(), &batch("run")).contains("not one for output"));
    let large = Plugin::action("a", |_, _: &(), _| Ok("x".repeat(50_000)));
    assert_eq!(says(large, &batch("run")).matches("{\"data\":").count(), 2);
    let huge = Plugin::action("a", |_, _: &(), _| Ok("x".repeat(100_000)));
    assert_eq!(says(huge, &batch("run")).matches("message too long").count(), 3);
}

#[test]
fn conversations_that_break() {
    for input in ["{}\n", "{\"init\":{}}\n{\"id\":0}\n", "{\"init\":{}}\nx\n", "{\"init\":{}}\n{\"id\":1", "{\"init\":[]}\n"] {
        let served = Plugin::action("a", |_, _: &(), _| Ok(())).json().serve(input.as_bytes(), Vec::new());
        assert!(served.is_err(), "{:?} is taken", input);
    }
    let mut calls = Plugin::action("a", |ctx, _: &(), _| ctx.kv_get::<Value>("k")).json();
    let input = "{\"init\":{}}\n{\"id\":1,\"run\":{}}\n{\"reply\":{\"n\":2,\"ok\":{}}}\n";
    let broken = calls.serve(input.as_bytes(), Vec::new()).unwrap_err();
    assert_eq!(broken.to_string(), "read: message: want the reply to call 1");
}

#[test]
fn base64() {
    for bytes in [&b""[..], b"a", b"ab", b"abc", b"\x00\xff\xfe\x80"] {
        assert_eq!(decode64(&encode64(bytes)).unwrap(), bytes);
    }
    assert_eq!((encode64(b"ab").as_str(), decode64("a"), decode64("a*==")), ("YWI=", None, None));
}

#[test]
fn network() {
    let plugin = || {
        Plugin::action("net", |ctx, _: &(), _| {
            let key = ctx.secret("key")?;
            assert_eq!((key.as_slice(), handle("key").as_str()), (&b"k1"[..], "${key}"));
            let request = HttpRequest {
                url: "http://a/".to_string(),
                body: vec![0xff],
                secrets: vec!["key".to_string()],
                ..HttpRequest::default()
            };
            let answer = ctx.http(request)?;
            let mut conn = ctx.dial("a", 502, true)?;
            conn.write_all(b"ask")?;
            let mut heard = String::new();
            conn.read_to_string(&mut heard)?;
            Ok(format!("{} {} {}", answer.status, String::from_utf8_lossy(&answer.body), heard))
        })
    };
    let mut host = Host::start(plugin, ()).unwrap();
    host.answer("http.request", |args| {
        assert_eq!(args.get("body_base64"), Some(&Value::Text("/w==".to_string())));
        assert_eq!(args.get("secrets"), Some(&json("[\"key\"]")));
        Ok(json("{\"status\":204,\"headers\":{},\"body\":\"b\",\"truncated\":false}"))
    });
    host.answer("secret.use", |_| Ok(json("{\"value\":\"k1\"}")));
    host.answer("tcp.connect", |_| Ok(json("{\"conn\":7,\"address\":\"192.0.2.1:502\"}")));
    host.answer("tcp.write", |_| Ok(json("{\"size\":3}")));
    let mut left = vec![json("{\"data_base64\":\"\",\"eof\":true}"), json("{\"data_base64\":\"YWI=\"}")];
    host.answer("tcp.read", move |_| left.pop().ok_or_else(|| "closed".into()));
    host.answer("tcp.close", |_| Ok(Value::map()));
    assert_eq!(host.run(()).unwrap(), Value::Text("204 b ab".to_string()));
    assert_eq!(host.calls.last().map(|(name, _)| name.as_str()), Some("tcp.close"));
}

#[test]
fn a_test_hands_a_batch_and_asks_again_for_the_rest() {
    let plugin = || {
        Plugin::action("one", |ctx, _: &(), run: Run| {
            let n: i64 = run.event.decode()?;
            ctx.kv_put("last", run.key)?;
            if n == 2 {
                return Err(Error::retryable("busy"));
            }
            Ok("x".repeat(n as usize))
        })
    };
    let mut host = Host::start(plugin, ()).unwrap();
    let outcomes = host.batch(vec![Value::Int(1), Value::Int(2), Value::Int(40_000), Value::Int(50_000)]).unwrap();
    let sizes: Vec<_> = outcomes.iter().map(|o| o.as_ref().map(|v| v.as_str().map(str::len))).collect();
    let busy = Error::retryable("busy");
    assert_eq!(sizes, [Ok(Some(1)), Err(&busy), Ok(Some(40_000)), Ok(Some(50_000))]);
    assert_eq!(host.kv["last"], "key-4".into_value());

    let first = || {
        Plugin::output("some", |_, _: &(), _| Err("not this one".into()))
            .batch(|ctx, _, work| vec![ctx.append("log", &work[0].key, false).map(|_| Value::Null)])
    };
    let mut host = Host::start(first, ()).unwrap();
    assert_eq!(host.batch(vec![Value::Null, Value::Null]).unwrap(), [Ok(Value::Null), Ok(Value::Null)]);
    assert_eq!(host.files["log"], "key-1key-2");
}

#[test]
fn a_test_has_secrets_names_and_folders() {
    let plugin = || {
        Plugin::action("some", |ctx, _: &(), _| {
            ctx.write_file("a/b/c", "1")?;
            ctx.write_file("d", "2")?;
            let mut all = ctx.list_files(".")?;
            all.extend(ctx.list_files("a")?);
            all.extend(ctx.resolve("plc")?);
            all.push(String::from_utf8(ctx.secret("key")?)?);
            Ok(all)
        })
    };
    let mut host = Host::start(plugin, ()).unwrap();
    host.names.insert("plc".to_string(), vec!["10.0.0.5".to_string()]);
    assert_eq!(host.run(Value::Null).unwrap_err().code(), crate::code::RETRYABLE, "a secret that is not there yet");
    host.secrets.insert("key".to_string(), "hunter2".to_string());
    let want = ["a/", "d", "b/", "10.0.0.5", "hunter2"].map(IntoValue::into_value);
    assert_eq!(host.run(Value::Null).unwrap(), Value::List(want.to_vec()));
}

#[test]
fn a_test_wakes_a_trigger_with_a_message() {
    let plugin = || {
        Plugin::trigger("ear", |ctx, _: &(), wake: Wake| {
            let fired = Fired::nothing().listen("line/+");
            match wake.message {
                None => Ok(fired),
                Some((topic, data)) => {
                    ctx.publish(&format!("heard/{}", topic), 1)?;
                    Ok(fired.event(data))
                }
            }
        })
    };
    let mut host = Host::start(plugin, ()).unwrap();
    assert_eq!(host.wake().unwrap().topics, ["line/+"]);
    assert_eq!(host.hear("line/1", 21).unwrap().events, [Value::Int(21)]);
    assert_eq!(host.published, [("heard/line/1".to_string(), Value::Int(1))]);
}

#[test]
fn floats_are_as_short_as_can_be() {
    let bytes = |n: f64| {
        let mut out = Vec::new();
        Cbor.value(&Value::Float(n), &mut out);
        out
    };
    for bits in 0..=u16::MAX {
        let input = [0xf9, (bits >> 8) as u8, bits as u8];
        if let Ok((Value::Float(n), 3)) = Cbor.decode(&input) {
            let subnormal = bits & 0x7c00 == 0 && bits & 0x3ff != 0;
            assert_eq!(bytes(n) == input, !subnormal, "{:#06x}", bits);
            assert_eq!(Cbor.decode(&bytes(n)), Ok((Value::Float(n), bytes(n).len())), "{:#06x}", bits);
        }
    }
    for (n, size) in [(81.5, 3), (65504.0, 3), (65505.0, 5), (1e-5, 9), (f64::from(0.1f32), 5), (0.1, 9), (-0.0, 3)] {
        assert_eq!(bytes(n).len(), size, "{}", n);
        assert_eq!(Cbor.decode(&bytes(n)), Ok((Value::Float(n), size)), "{}", n);
    }
}

/// A wake says both times, and a trigger may wait by either: one that waits by the clock goes off
/// when that is set past its time.
#[test]
fn two_clocks() {
    let plugin = || {
        Plugin::trigger("clocks", |_, every: &Every, wake| {
            let told = Value::map().with("steady", wake.steady_ms).with("clock", wake.clock);
            let fired = Fired::nothing().event(told);
            Ok(match every.at {
                true => fired.at_ms(wake.now_ms / 60_000 * 60_000 + 60_000),
                false => fired.after(Duration::from_secs(90)),
            })
        })
    };
    let told = |steady: i64, clock: bool| Value::map().with("steady", steady).with("clock", clock);
    for (at, jump, want) in [
        (false, 0, [0, 90_000, 180_000].as_slice()),
        (false, 600_000, [0, 90_000, 180_000].as_slice()),
        (true, 0, [0, 60_000, 120_000, 180_000].as_slice()),
        (true, 50_000, [0, 60_000, 70_000, 130_000, 190_000].as_slice()),
    ] {
        let mut host = Host::start(plugin, Value::map().with("at", at)).unwrap();
        let mut events = host.advance(Duration::from_secs(60)).unwrap();
        host.now_ms += jump;
        host.clock = false;
        events.extend(host.advance(Duration::from_secs(130)).unwrap());
        let first = if at { 2 } else { 1 };
        let want: Vec<Value> = want.iter().enumerate().map(|(i, steady)| told(*steady, i < first)).collect();
        assert_eq!(events, want, "at {}, the clock set by {}", at, jump);
    }
    let mut host = Host::start(plugin, Value::map().with("at", true)).unwrap();
    let answer = host.wake().unwrap();
    assert_eq!((answer.after, answer.at_ms), (None, Some(host.now_ms + 60_000)));
}

record! {
    struct Every {
        at: bool,
    }
}

impl Config for Every {}
