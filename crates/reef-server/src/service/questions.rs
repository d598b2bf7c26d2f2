//! A stream that asks for debug data: each question has one answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::Shared;
use super::body::Outgoing;
use super::requests::Requests;
use super::stream::{Ended, Opening, over};
use super::wire::Frames;
use crate::debug::{Question, is_debug};
use crate::protocol::{Request, Variant};
use crate::provider::NodeInfo;
use crate::status::StreamEnd;

/// How long a stream is kept without a question. `istioctl` asks one and leaves.
const IDLE: Duration = Duration::from_secs(60);

/// Answers given on one stream whose ACKs are still known as such; a client that is that far behind asks anew.
const ANSWERS_KNOWN: usize = 64;

/// Answers the first question and those that follow it.
pub(super) async fn drive<M: Message + Default + 'static>(
    shared: &Arc<Shared>,
    opening: &Opening,
    node: &NodeInfo,
    first: Request,
    requests: &mut Requests<M>,
    read: fn(M) -> Request,
    responses: &mpsc::Sender<Box<Outgoing>>,
) -> Result<(), Ended> {
    tokio::select! {
        ended = converse(shared, opening, node, first, requests, read, responses) => ended,
        why = over(shared, opening.leave.as_deref()) => Err(why.into()),
    }
}

async fn converse<M: Message + Default + 'static>(
    shared: &Arc<Shared>,
    opening: &Opening,
    node: &NodeInfo,
    first: Request,
    requests: &mut Requests<M>,
    read: fn(M) -> Request,
    responses: &mpsc::Sender<Box<Outgoing>>,
) -> Result<(), Ended> {
    let mut asked = first;
    let mut answers: u64 = 0;
    let mut given: VecDeque<String> = VecDeque::new();
    loop {
        let aggregated = opening.only.is_none() && opening.variant == Variant::Sotw;
        if !is_debug(&asked.type_url) || !aggregated {
            return Err(StreamEnd::WrongType {
                type_url: asked.type_url,
            }
            .into());
        }
        if !given.contains(&asked.nonce) {
            answers += 1;
            let nonce = format!("debug-{answers}");
            let frames = answer(shared, opening, node, asked, &nonce).await?;
            given.push_back(nonce);
            if given.len() > ANSWERS_KNOWN {
                given.pop_front();
            }
            let outgoing = Outgoing {
                frames,
                ty: None,
                since: Instant::now(),
            };
            if responses.send(Box::new(outgoing)).await.is_err() {
                return Ok(());
            }
        }
        let Ok(next) = timeout(IDLE, requests.message()).await else {
            return Ok(());
        };
        let Some(message) = next.map_err(Ended::Client)? else {
            return Ok(());
        };
        asked = read(message);
    }
}

async fn answer(
    shared: &Shared,
    opening: &Opening,
    node: &NodeInfo,
    asked: Request,
    nonce: &str,
) -> Result<Frames, Ended> {
    let question = Question {
        type_url: asked.type_url,
        names: asked.subscribe,
    };
    let found = shared.provider.debug(node, &opening.peer, &question).await;
    let found = found.map_err(StreamEnd::Refused)?;
    let resources: VecDeque<Bytes> = found
        .resources
        .iter()
        .map(|any| Bytes::from(any.encode_to_vec()))
        .collect();
    Ok(Frames::plain(
        &question.type_url,
        nonce,
        resources,
        &found.identifier,
    ))
}
