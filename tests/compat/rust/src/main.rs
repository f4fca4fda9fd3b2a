//! rskafka behind the requests of ../../programs.py: one line of JSON for a request, one for its answer.

use std::collections::BTreeMap;
use std::io::{BufRead, StdinLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_MS: i32 = 60_000;

fn codec(name: &str) -> Compression {
    match name {
        "none" => Compression::NoCompression,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        other => panic!("unknown codec {other}"),
    }
}

fn records(values: &[Value]) -> Vec<Record> {
    let record = |value: &Value| Record {
        key: None,
        value: value.as_str().map(|text| text.as_bytes().to_vec()),
        headers: BTreeMap::new(),
        timestamp: Utc::now(),
    };
    values.iter().map(record).collect()
}

async fn read(partition: &PartitionClient, from: i64, count: usize) -> Result<Value, Failure> {
    let mut values: Vec<String> = vec![];
    let mut offset = from;
    while values.len() < count {
        let (found, _) = partition.fetch_records(offset, 1..1_000_000, 500).await?;
        for one in found.into_iter().take(count - values.len()) {
            values.push(String::from_utf8(one.record.value.unwrap_or_default())?);
            offset = one.offset + 1;
        }
    }
    Ok(json!({ "values": values }))
}

async fn work(client: &Client, asked: &Value, input: &mut StdinLock<'_>) -> Result<Value, Failure> {
    let topic = asked["topic"].as_str().unwrap_or_default().to_owned();
    let count = asked["count"].as_u64().unwrap_or_default() as usize;
    let partition = || client.partition_client(topic.clone(), 0, UnknownTopicHandling::Retry);
    match asked["do"].as_str().unwrap_or_default() {
        "create_topic" => {
            let partitions = asked["partitions"].as_i64().unwrap_or(1) as i32;
            client.controller_client()?.create_topic(topic, partitions, 3, PATIENCE_MS).await?;
        }
        "delete_topic" => client.controller_client()?.delete_topic(topic, PATIENCE_MS).await?,
        "produce" => {
            let values = asked["values"].as_array().cloned().unwrap_or_default();
            let codec = codec(asked["codec"].as_str().unwrap_or_default());
            let (first, second) = values.split_at(values.len() / 2);
            let partition = partition().await?;
            partition.produce(records(first), codec).await?;
            println!("{}", json!({ "half": true }));
            input.read_line(&mut String::new())?;
            partition.produce(records(second), codec).await?;
        }
        "consume" => return read(&partition().await?, asked["offset"].as_i64().unwrap_or(0), count).await,
        "consume_since" => {
            let time = DateTime::from_timestamp_millis(asked["timestamp_ms"].as_i64().unwrap_or(0));
            let partition = partition().await?;
            let from = partition.get_offset(OffsetAt::Timestamp(time.ok_or("no such time")?)).await?;
            return read(&partition, from, count).await;
        }
        _ => return Ok(json!({ "cannot": "has no call for it" })),
    }
    Ok(json!({}))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let brokers = std::env::args().nth(1).ok_or("name the brokers")?;
    let client = ClientBuilder::new(brokers.split(',').map(str::to_owned).collect()).build().await?;
    let mut input = std::io::stdin().lock();
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let asked: Value = serde_json::from_str(&line)?;
        let patience = asked["seconds"].as_f64().map_or(PATIENCE, Duration::from_secs_f64);
        let answer = match tokio::time::timeout(patience, work(&client, &asked, &mut input)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => json!({ "error": error.to_string() }),
            Err(_) => json!({ "error": format!("not done within {patience:?}") }),
        };
        println!("{answer}");
        line.clear();
    }
    Ok(())
}
