//! What Raft's calls say. Raft takes its peers at their word, and ends with a panic where that breaks its rules: so those
//! that can be checked without its state are checked here.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};

use super::super::super::encoding::{self, decode_log_id, encode_entry, encode_log_id};
pub(in super::super) use super::super::super::encoding::{encode_meta, encode_vote};
use super::super::super::founding::NodeId;
use super::super::super::proposal::Proposal;
use super::super::super::types::{
    Entry, LogId, Member, Membership, SnapshotMeta, StoredMembership, Types, Vote,
};
use super::{Header, MAX_NAMES, Malformed, bounded, decode_name};
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::append_response::Answer;
use crate::proto::cluster::v1::entry::Content;

/// Entries of one append: the engine sends 300 at most.
const MAX_ENTRIES: usize = 4096;
/// Largest entry, in octets: twice what this version proposes.
const MAX_ENTRY_OCTETS: usize = 512 << 10;
/// Sets of voters: two while one replaces the other.
const MAX_VOTER_SETS: usize = 2;
/// Longest name of a snapshot, in octets.
const MAX_SNAPSHOT_ID_OCTETS: usize = 64;

pub(in super::super) fn decode_vote(vote: Option<v1::Vote>) -> Result<Vote, Malformed> {
    Ok(encoding::decode_vote(&vote.ok_or(Malformed("a vote"))?))
}

/// The vote of who calls, for itself.
fn own_vote(vote: Option<v1::Vote>, from: NodeId, committed: bool) -> Result<Vote, Malformed> {
    let vote = decode_vote(vote)?;
    if vote.leader_id.node_id != from || vote.committed != committed {
        return Err(Malformed("the caller's vote"));
    }
    Ok(vote)
}

pub(in super::super) fn encode_vote_request(
    header: &Header,
    request: &VoteRequest<NodeId>,
) -> v1::VoteRequest {
    v1::VoteRequest {
        header: Some(header.encode()),
        vote: Some(encode_vote(&request.vote)),
        last: request.last_log_id.as_ref().map(encode_log_id),
    }
}

pub(in super::super) fn decode_vote_request(
    from: NodeId,
    request: v1::VoteRequest,
) -> Result<VoteRequest<NodeId>, Malformed> {
    let vote = own_vote(request.vote, from, false)?;
    Ok(VoteRequest::new(vote, request.last.as_ref().map(decode_log_id)))
}

pub(in super::super) fn encode_vote_response(response: &VoteResponse<NodeId>) -> v1::VoteResponse {
    v1::VoteResponse {
        vote: Some(encode_vote(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(encode_log_id),
    }
}

pub(in super::super) fn decode_vote_response(
    response: v1::VoteResponse,
) -> Result<VoteResponse<NodeId>, Malformed> {
    let last = response.last.as_ref().map(decode_log_id);
    Ok(VoteResponse::new(decode_vote(response.vote)?, last, response.granted))
}

pub(in super::super) fn encode_append(
    header: &Header,
    request: &AppendEntriesRequest<Types>,
) -> v1::AppendRequest {
    v1::AppendRequest {
        header: Some(header.encode()),
        vote: Some(encode_vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(encode_log_id),
        entries: request.entries.iter().map(encode_entry).collect(),
        committed: request.leader_commit.as_ref().map(encode_log_id),
    }
}

pub(in super::super) fn decode_append(
    from: NodeId,
    request: v1::AppendRequest,
) -> Result<AppendEntriesRequest<Types>, Malformed> {
    if request.entries.len() > MAX_ENTRIES {
        return Err(Malformed("the number of entries"));
    }
    let vote = own_vote(request.vote, from, true)?;
    let previous = request.previous.as_ref().map(decode_log_id);
    let entries = request.entries.into_iter().map(decode_entry).collect::<Result<Vec<_>, _>>()?;
    let mut before = previous;
    for Entry { log_id, .. } in &entries {
        let place = before.map_or(Some(0), |before| before.index.checked_add(1));
        let is_next = place == Some(log_id.index) && before.is_none_or(|before| before < *log_id);
        if !is_next || log_id.leader_id.term > vote.leader_id.term {
            return Err(Malformed("the order of entries"));
        }
        before = Some(*log_id);
    }
    let leader_commit = request.committed.as_ref().map(decode_log_id);
    Ok(AppendEntriesRequest { vote, prev_log_id: previous, entries, leader_commit })
}

/// The answer to an append; none: this version gives no such answer.
pub(in super::super) fn encode_append_response(
    response: &AppendEntriesResponse<NodeId>,
) -> Option<v1::AppendResponse> {
    let answer = match response {
        AppendEntriesResponse::Success => Answer::Taken(v1::Blank {}),
        AppendEntriesResponse::Conflict => Answer::Conflict(v1::Blank {}),
        AppendEntriesResponse::HigherVote(vote) => Answer::Higher(encode_vote(vote)),
        AppendEntriesResponse::PartialSuccess(_) => return None,
    };
    Some(v1::AppendResponse { answer: Some(answer) })
}

/// The answer to an append of this vote, which followed this entry.
pub(in super::super) fn decode_append_response(
    response: v1::AppendResponse,
    vote: &Vote,
    previous: Option<LogId>,
) -> Result<AppendEntriesResponse<NodeId>, Malformed> {
    match response.answer.ok_or(Malformed("the answer to an append"))? {
        Answer::Taken(_) => Ok(AppendEntriesResponse::Success),
        // Nothing is before the first entry that could be missing.
        Answer::Conflict(_) if previous.is_some() => Ok(AppendEntriesResponse::Conflict),
        Answer::Conflict(_) => Err(Malformed("a conflict")),
        Answer::Higher(higher) => {
            let higher = decode_vote(Some(higher))?;
            if higher > *vote {
                Ok(AppendEntriesResponse::HigherVote(higher))
            } else {
                Err(Malformed("a higher vote"))
            }
        }
    }
}

pub(in super::super) fn decode_meta(meta: Option<v1::SnapshotMeta>) -> Result<SnapshotMeta, Malformed> {
    let meta = meta.ok_or(Malformed("what a snapshot is named by"))?;
    let stored = meta.membership.ok_or(Malformed("the membership of a snapshot"))?;
    let membership = decode_membership(stored.membership.ok_or(Malformed("the membership of a snapshot"))?)?;
    if meta.snapshot_id.len() > MAX_SNAPSHOT_ID_OCTETS {
        return Err(Malformed("the name of a snapshot"));
    }
    Ok(SnapshotMeta {
        // Without one it would be of nothing, and there is no such snapshot.
        last_log_id: Some(decode_log_id(&meta.last.ok_or(Malformed("the end of a snapshot"))?)),
        last_membership: StoredMembership::new(stored.id.as_ref().map(decode_log_id), membership),
        snapshot_id: meta.snapshot_id,
    })
}

fn decode_entry(entry: v1::Entry) -> Result<Entry, Malformed> {
    let payload = match entry.content.ok_or(Malformed("the content of an entry"))? {
        Content::Blank(_) => EntryPayload::Blank,
        Content::Proposal(octets) if octets.len() > MAX_ENTRY_OCTETS => {
            return Err(Malformed("the size of an entry"));
        }
        Content::Proposal(octets) => EntryPayload::Normal(Proposal(octets.into())),
        Content::Membership(membership) => EntryPayload::Membership(decode_membership(membership)?),
    };
    let log_id = decode_log_id(&entry.id.ok_or(Malformed("the id of an entry"))?);
    Ok(Entry { log_id, payload })
}

/// A membership with at least one voter in each set, all of them listed by name.
fn decode_membership(membership: v1::Membership) -> Result<Membership, Malformed> {
    let wrong = Malformed("a membership");
    let listed = bounded(&membership.members, "a list of members")?.iter();
    let named = listed.map(|member| {
        let name = decode_name(&member.name)?.to_string();
        Ok((NodeId(member.node), Member { name }))
    });
    let members = named.collect::<Result<BTreeMap<_, _>, Malformed>>()?;
    if !(1..=MAX_VOTER_SETS).contains(&membership.voters.len()) {
        return Err(wrong);
    }
    let sets = membership.voters.into_iter().map(|set| {
        let is_bounded = (1..=MAX_NAMES).contains(&set.nodes.len());
        let voters: BTreeSet<NodeId> = set.nodes.into_iter().map(NodeId).collect();
        (is_bounded && voters.iter().all(|voter| members.contains_key(voter))).then_some(voters)
    });
    let sets = sets.collect::<Option<Vec<_>>>().ok_or(wrong)?;
    Ok(Membership::new(sets, members))
}
