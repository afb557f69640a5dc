use std::net::IpAddr;

use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData};

use super::*;

const ZONE: &str = "\
@ 60 SOA ns hostmaster 1 3600 600 86400 30
@ NS ns
ns A 192.0.2.53
mail 120 IN MX 10 mx
_25._tcp.mx TLSA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
txt TXT \"one; \" \"two\"
alias CNAME mail
away CNAME target.example.org.
*.wild A 127.0.0.2
except.wild TXT \"here\"
";

async fn server() -> DnsServer {
    DnsServer::start(&[("example.com", ZONE), ("sub.example.com", "host A 192.0.2.7\n")]).await.unwrap()
}

fn query(name: &str, record_type: RecordType) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    query
}

async fn send(server: &DnsServer, query: &Message) -> Message {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(&query.to_vec().unwrap(), server.addr()).await.unwrap();
    let mut buffer = [0; 4096];
    let octets = socket.recv(&mut buffer).await.unwrap();
    let response = Message::from_vec(&buffer[..octets]).unwrap();
    assert_eq!(response.metadata.id, query.metadata.id);
    response
}

async fn ask(server: &DnsServer, name: &str, record_type: RecordType) -> Message {
    send(server, &query(name, record_type)).await
}

fn addresses(response: &Message) -> Vec<IpAddr> {
    response.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
}

#[tokio::test]
async fn rfc1035_5_records_of_every_type_we_use_are_read_and_answered() {
    let server = server().await;
    for (name, record_type) in [
        ("example.com.", RecordType::SOA),
        ("example.com.", RecordType::NS),
        ("ns.example.com.", RecordType::A),
        ("MAIL.Example.Com.", RecordType::MX),
        ("_25._tcp.mx.example.com.", RecordType::TLSA),
        ("alias.example.com.", RecordType::CNAME),
    ] {
        let response = ask(&server, name, record_type).await;
        assert_eq!(response.answers.len(), 1, "{name} {record_type}");
        assert_eq!(response.answers[0].record_type(), record_type);
        assert!(response.metadata.authoritative);
    }
    let response = ask(&server, "txt.example.com.", RecordType::TXT).await;
    let RData::TXT(txt) = &response.answers[0].data else { panic!("no TXT record") };
    assert_eq!(txt.txt_data.iter().map(|s| &**s).collect::<Vec<_>>(), [b"one; ".as_slice(), b"two"]);
}

#[tokio::test]
async fn rfc1034_4_3_2_cnames_are_followed_inside_the_zones() {
    let server = server().await;
    let response = ask(&server, "alias.example.com.", RecordType::MX).await;
    let types: Vec<_> =
        response.answers.iter().map(hickory_resolver::proto::rr::Record::record_type).collect();
    assert_eq!(types, [RecordType::CNAME, RecordType::MX]);
    let response = ask(&server, "away.example.com.", RecordType::A).await;
    assert_eq!(response.metadata.response_code, ResponseCode::NoError);
    assert_eq!(response.answers.len(), 1);
}

#[tokio::test]
async fn rfc2308_2_negative_answers_carry_the_soa_of_the_closest_zone() {
    let server = server().await;
    for (name, code, origin) in [
        ("mail.example.com.", ResponseCode::NoError, "example.com."),
        ("_tcp.mx.example.com.", ResponseCode::NoError, "example.com."),
        ("no.example.com.", ResponseCode::NXDomain, "example.com."),
        ("no.sub.example.com.", ResponseCode::NXDomain, "sub.example.com."),
    ] {
        let response = ask(&server, name, RecordType::A).await;
        assert_eq!(response.metadata.response_code, code, "{name}");
        assert_eq!(response.authorities[0].record_type(), RecordType::SOA);
        assert_eq!(response.authorities[0].name.to_ascii(), origin);
    }
    let response = ask(&server, "example.org.", RecordType::A).await;
    assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
    assert!(response.authorities.is_empty());
}

#[tokio::test]
async fn rfc4592_3_3_1_wildcards_cover_what_does_not_exist() {
    let server = server().await;
    let response = ask(&server, "1.0.0.127.wild.example.com.", RecordType::A).await;
    assert_eq!(addresses(&response), [IpAddr::from([127, 0, 0, 2])]);
    assert_eq!(response.answers[0].name.to_ascii(), "1.0.0.127.wild.example.com.");
    for name in ["except.wild.example.com.", "below.except.wild.example.com.", "wild.example.com."] {
        assert!(ask(&server, name, RecordType::A).await.answers.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn records_can_be_replaced_and_removed_while_it_runs() {
    let server = server().await;
    server.replace("ns.example.com A 192.0.2.54\nnew.example.com. 5 A 192.0.2.55").unwrap();
    let response = ask(&server, "ns.example.com.", RecordType::A).await;
    assert_eq!(addresses(&response), [IpAddr::from([192, 0, 2, 54])]);
    assert_eq!(ask(&server, "new.example.com.", RecordType::A).await.answers[0].ttl, 5);
    server.remove("new.example.com").unwrap();
    let response = ask(&server, "new.example.com.", RecordType::A).await;
    assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn records_that_are_wrong_or_elsewhere_are_refused_and_change_nothing() {
    let server = server().await;
    let error = server.replace("ns.example.com A 192.0.2.54\nhost.example.org A 192.0.2.1").unwrap_err();
    assert_eq!(error.to_string(), "\"host.example.org.\" is in none of the zones");
    let error = server.replace("ns.example.com A 300.0.0.1").unwrap_err();
    assert!(matches!(error, DnsServerError::Zone(ZoneError::Records { .. })), "{error}");
    let response = ask(&server, "ns.example.com.", RecordType::A).await;
    assert_eq!(addresses(&response), [IpAddr::from([192, 0, 2, 53])]);
    let error = DnsServer::start(&[("example.com", "www NOTATYPE 1")]).await.err().unwrap();
    assert_eq!(error.to_string(), "records of zone \"example.com.\"");
}

#[tokio::test]
async fn rfc6891_6_2_3_large_answers_are_truncated_to_what_the_client_takes() {
    let server = server().await;
    let records: Vec<String> = (0..60).map(|n| format!("big.example.com A 198.51.100.{n}\n")).collect();
    server.replace(&records.concat()).unwrap();
    let mut question = query("big.example.com.", RecordType::A);
    let response = send(&server, &question).await;
    assert!(response.metadata.truncation && response.answers.is_empty(), "512 octets without EDNS");
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    question.set_edns(edns);
    let response = send(&server, &question).await;
    assert!(!response.metadata.truncation && response.edns.is_some());
    assert_eq!(response.answers.len(), 60);
}

#[tokio::test]
async fn rfc1035_4_2_2_queries_over_tcp_are_answered_one_after_the_other() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let asked = [query("ns.example.com.", RecordType::A), query("no.example.com.", RecordType::A)];
    for question in &asked {
        let octets = question.to_vec().unwrap();
        stream.write_u16(octets.len().try_into().unwrap()).await.unwrap();
        stream.write_all(&octets).await.unwrap();
    }
    for question in &asked {
        let mut octets = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut octets).await.unwrap();
        assert_eq!(Message::from_vec(&octets).unwrap().metadata.id, question.metadata.id);
    }
    assert_eq!(server.queries_over_tcp("ns.example.com", "A"), 1);
}

#[tokio::test]
async fn marked_names_fail_stay_silent_or_answer_late() {
    let server = server().await;
    server.behave("ns.example.com", Behaviour::ServFail).unwrap();
    let response = ask(&server, "ns.example.com.", RecordType::A).await;
    assert_eq!(response.metadata.response_code, ResponseCode::ServFail);
    server.behave("ns.example.com", Behaviour::Silent).unwrap();
    let answer = ask(&server, "ns.example.com.", RecordType::A);
    assert!(tokio::time::timeout(Duration::from_millis(50), answer).await.is_err());
    server.behave("ns.example.com", Behaviour::Delay(Duration::from_millis(20))).unwrap();
    let started = std::time::Instant::now();
    assert_eq!(ask(&server, "ns.example.com.", RecordType::A).await.answers.len(), 1);
    assert!(started.elapsed() >= Duration::from_millis(20));
    assert_eq!(server.queries("ns.example.com", "A"), 3);
    assert_eq!(server.queries("ns.example.com", "AAAA"), 0);
}

#[tokio::test]
async fn what_is_no_query_gets_no_answer_or_notimp() {
    let server = server().await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(b"\x00\x01garbage", server.addr()).await.unwrap();
    let mut update = query("example.com.", RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    let response = send(&server, &update).await;
    assert_eq!(response.metadata.response_code, ResponseCode::NotImp);
}

#[tokio::test]
async fn rfc2181_11_names_and_texts_of_any_octets_are_published_and_answered() {
    let server = server().await;
    server.add_zone(".", "").unwrap();
    let odd = b"a b\0.%\xff.Example.ORG";
    let long = [b'x'; 300];
    server.publish(odd, &Data::Txt(&[b"v=spf1 \x96all\0", &long])).unwrap();
    server.publish(odd, &Data::Txt(&[])).unwrap();
    server.publish(odd, &Data::Mx(0, b"")).unwrap();
    let ask_odd = |record_type| {
        let labels = [&b"A b\0"[..], b"%\xff", b"example", b"org"];
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_labels(labels).unwrap(), record_type));
        query
    };
    let response = send(&server, &ask_odd(RecordType::TXT)).await;
    let texts: Vec<Vec<&[u8]>> = response
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::TXT(txt) => txt.txt_data.iter().map(|s| &**s).collect(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(texts, [vec![&b"v=spf1 \x96all\0"[..], &long[..255], &long[255..]], vec![&b""[..]]]);
    let response = send(&server, &ask_odd(RecordType::MX)).await;
    let RData::MX(mx) = &response.answers[0].data else { panic!("no MX record") };
    assert!(mx.exchange.is_root());
    let nothing = ask(&server, "elsewhere.example.org.", RecordType::A).await;
    assert_eq!(nothing.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(nothing.authorities.len(), 1, "the root zone speaks for it");
    for name in [&b"a..example.org"[..], &[b'x'; 64], b"."] {
        let published = server.publish(name, &Data::A(Ipv4Addr::LOCALHOST));
        assert_eq!(published.is_ok(), name == b".", "{name:?}");
    }
}

#[tokio::test]
async fn one_type_of_a_name_can_fail_while_another_is_answered() {
    let server = server().await;
    server.behave_for("ns.example.com.", "TXT", Behaviour::ServFail).unwrap();
    server.behave("mail.example.com.", Behaviour::ServFail).unwrap();
    server.behave_for("mail.example.com.", "MX", Behaviour::Answer).unwrap();
    for (name, record_type, expected) in [
        ("ns.example.com.", RecordType::A, ResponseCode::NoError),
        ("ns.example.com.", RecordType::TXT, ResponseCode::ServFail),
        ("mail.example.com.", RecordType::MX, ResponseCode::NoError),
        ("mail.example.com.", RecordType::A, ResponseCode::ServFail),
    ] {
        let response = ask(&server, name, record_type).await;
        assert_eq!(response.metadata.response_code, expected, "{name} {record_type}");
    }
    assert!(server.behave_for("ns.example.com.", "SPAM", Behaviour::Silent).is_err());
}
