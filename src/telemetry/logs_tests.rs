use std::io;

use parking_lot::Mutex;
use tracing::{error, info_span, warn};

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// The lines that the code logs under the filter, as text, and the metrics that counted them.
fn logged(filter: &str, code: impl FnOnce()) -> (Vec<String>, Arc<Metrics>) {
    let (lines, metrics) = (Lines::default(), Arc::new(Metrics::new().unwrap()));
    let log = JsonLog { writer: lines.clone(), metrics: Arc::clone(&metrics) };
    let filter = parse("log.level", filter).unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(filter).with(log), code);
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    (text.lines().map(str::to_owned).collect(), metrics)
}

fn without_timestamp(line: &str) -> String {
    let (start, rest) = line.split_once("Z\",").unwrap();
    let time = start.strip_prefix("{\"timestamp\":\"").unwrap();
    humantime::parse_rfc3339(&format!("{time}Z")).unwrap();
    format!("{{{rest}")
}

#[test]
fn the_ready_record_is_as_tools_expect_it() {
    let addresses = Addresses {
        smtp: vec!["127.0.0.1:2525".parse().unwrap(), "[::1]:2525".parse().unwrap()],
        http: "127.0.0.1:8080".parse().unwrap(),
        public: None,
        admin: "127.0.0.1:50051".parse().unwrap(),
        cluster: None,
    };
    let (lines, _) = logged("info", || log_ready("linda", &addresses));
    assert_eq!(
        without_timestamp(&lines[0]),
        "{\"level\":\"INFO\",\"message\":\"ready\",\"node\":\"linda\",\"smtp\":[\"127.0.0.1:2525\",\"[::1]:2525\"],\
         \"http\":\"127.0.0.1:8080\",\"admin\":\"127.0.0.1:50051\",\"target\":\"postroad::telemetry::logs\"}"
    );
}

#[test]
fn fields_of_spans_come_first_and_the_records_own_win() {
    let (lines, _) = logged("info", || {
        let _outer = info_span!("session", client = "192.0.2.1", trace = 1).entered();
        let inner = info_span!("transaction", trace = 2, code = tracing::field::Empty).entered();
        inner.record("code", 250);
        info!(ok = true, seconds = 0.5, missing = None::<u32>, "done \"so\"\n");
        info!(trace = 3, level = "high", quoted = ?"a");
    });
    let ours = "\"target\":\"postroad::telemetry::logs::tests\"}";
    assert_eq!(
        without_timestamp(&lines[0]),
        format!(
            "{{\"level\":\"INFO\",\"message\":\"done \\\"so\\\"\\n\",\"client\":\"192.0.2.1\",\"trace\":2,\"code\":250,\
             \"ok\":true,\"seconds\":0.5,{ours}"
        )
    );
    assert_eq!(
        without_timestamp(&lines[1]),
        format!(
            "{{\"level\":\"INFO\",\"message\":\"\",\"client\":\"192.0.2.1\",\"trace\":3,\"code\":250,\"field.level\":\"high\",\
             \"quoted\":\"\\\"a\\\"\",{ours}"
        )
    );
}

#[test]
fn text_that_is_no_json_is_written_as_a_string() {
    let (lines, _) = logged("info", || info!(json.list = %"[1,", "x"));
    assert!(lines[0].contains("\"list\":\"[1,\""), "{}", lines[0]);
}

#[test]
fn records_below_the_level_are_neither_written_nor_counted() {
    let (lines, metrics) = logged("warn", || {
        info!("no");
        warn!("yes");
        error!("yes");
        error!("yes");
    });
    assert_eq!(lines.len(), 3);
    let count = |level| metrics.log_events_total.of(level).get();
    assert_eq!([count(Level::Info), count(Level::Warn), count(Level::Error)], [0, 1, 2]);
}

#[test]
fn a_bad_filter_is_named_with_its_origin() {
    let error = parse("log.level", "a=b=c").unwrap_err().to_string();
    assert!(error.starts_with("log.level: \"a=b=c\" is not a filter: "), "{error}");
}

#[test]
fn a_value_that_is_too_long_is_cut() {
    let long = "é".repeat(4_000_000);
    let (lines, _) = logged("info", || {
        let _span = info_span!("session", helo = long.as_str()).entered();
        info!(to = long.as_str(), debug = ?vec![1; 1_000_000], display = %long, json.list = %long, "x");
    });
    assert!(lines[0].len() < 6 * MAX_VALUE_OCTETS, "{}", lines[0].len());
    assert!(lines[0].contains("é… and 7995904 octets more\""), "{}", &lines[0][..9000]);
    let (lines, _) = logged("info", || info!(to = "é".repeat(MAX_VALUE_OCTETS / 2).as_str(), "x"));
    assert!(!lines[0].contains("more"));
}

#[test]
fn the_raft_engine_is_heard_where_the_filter_names_it_and_nowhere_else() {
    let says = || error!(target: "openraft::replication", "a peer is down");
    for (filter, lines) in [("info", 0), ("postroad=debug", 0), ("info,openraft=warn", 1)] {
        assert_eq!(logged(filter, says).0.len(), lines, "{filter}");
    }
}
