"""Raft's messages as they travel: between `dohle.raft.messages` and `proto/dohle/v1/raft.proto`.

Source and target are not on the wire: they are the two ends of the stream. Batches are checked here, where they enter:
CRC, offsets without a gap, terms that do not fall.
"""

from __future__ import annotations

from typing import assert_never

from dohle.model.batch import check_crc, split_batches
from dohle.model.errors import CorruptMessage, InvalidRequest
from dohle.model.ids import SnapshotId
from dohle.model.metadata import Voters
from dohle.model.metadata_batch import voters_in
from dohle.raft.messages import (
    AppendAccepted,
    AppendRejected,
    AppendRequest,
    BatchSpan,
    Message,
    SnapshotOffer,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from dohle.raft.quorum import ReplicaKey, VoterSet
from dohle.rpc.methods import methods_of
from dohle.rpc.v1 import raft_pb2

RAFT = raft_pb2.DESCRIPTOR.services_by_name["Raft"]
CONVERSE = methods_of(RAFT)["Converse"]


def to_wire(message: Message) -> raft_pb2.RaftMessage:
    """Returns `message` without its source and target."""
    match message:
        case AppendRequest():
            return raft_pb2.RaftMessage(
                append_request=raft_pb2.RaftAppendRequest(
                    term=message.term,
                    prev_offset=message.prev_offset,
                    prev_term=message.prev_term,
                    batches=message.batches,
                    commit_offset=message.commit_offset,
                    round=message.round,
                )
            )
        case AppendAccepted():
            return raft_pb2.RaftMessage(
                append_accepted=raft_pb2.RaftAppendAccepted(
                    term=message.term,
                    round=message.round,
                    matched_end_offset=message.matched_end_offset,
                    durable_end_offset=message.durable_end_offset,
                )
            )
        case AppendRejected():
            return raft_pb2.RaftMessage(
                append_rejected=raft_pb2.RaftAppendRejected(
                    term=message.term,
                    round=message.round,
                    prev_offset=message.prev_offset,
                    conflict_term=message.conflict_term,
                    conflict_end_offset=message.conflict_end_offset,
                )
            )
        case SnapshotOffer():
            return raft_pb2.RaftMessage(
                snapshot_offer=raft_pb2.RaftSnapshotOffer(
                    term=message.term,
                    end_offset=message.snapshot.end_offset,
                    snapshot_term=message.snapshot.term,
                    round=message.round,
                )
            )
        case VoteRequest():
            return raft_pb2.RaftMessage(
                vote_request=raft_pb2.RaftVoteRequest(
                    term=message.term,
                    pre_vote=message.pre_vote,
                    last_term=message.last_term,
                    log_end_offset=message.log_end_offset,
                    transfer=message.transfer,
                )
            )
        case VoteResponse():
            return raft_pb2.RaftMessage(
                vote_response=raft_pb2.RaftVoteResponse(
                    term=message.term,
                    election_term=message.election_term,
                    pre_vote=message.pre_vote,
                    granted=message.granted,
                )
            )
        case TimeoutNow():
            return raft_pb2.RaftMessage(timeout_now=raft_pb2.RaftTimeoutNow(term=message.term))
        case _:
            assert_never(message)


def from_wire(wire: raft_pb2.RaftMessage, source: ReplicaKey, target: ReplicaKey) -> Message:
    """Returns what `source` told `target`. Raises CorruptMessage for a bad batch, InvalidRequest for no known kind."""
    match wire.WhichOneof("kind"):
        case "append_request":
            append = wire.append_request
            return AppendRequest(
                source,
                target,
                term=append.term,
                prev_offset=append.prev_offset,
                prev_term=append.prev_term,
                spans=checked_spans(append.batches, append.prev_offset),
                batches=append.batches,
                commit_offset=append.commit_offset,
                round=append.round,
            )
        case "append_accepted":
            accepted = wire.append_accepted
            return AppendAccepted(
                source,
                target,
                term=accepted.term,
                round=accepted.round,
                matched_end_offset=accepted.matched_end_offset,
                durable_end_offset=accepted.durable_end_offset,
            )
        case "append_rejected":
            rejected = wire.append_rejected
            return AppendRejected(
                source,
                target,
                term=rejected.term,
                round=rejected.round,
                prev_offset=rejected.prev_offset,
                conflict_term=rejected.conflict_term,
                conflict_end_offset=rejected.conflict_end_offset,
            )
        case "snapshot_offer":
            offer = wire.snapshot_offer
            snapshot = SnapshotId(offer.end_offset, offer.snapshot_term)
            return SnapshotOffer(source, target, term=offer.term, snapshot=snapshot, round=offer.round)
        case "vote_request":
            request = wire.vote_request
            return VoteRequest(
                source,
                target,
                term=request.term,
                pre_vote=request.pre_vote,
                last_term=request.last_term,
                log_end_offset=request.log_end_offset,
                transfer=request.transfer,
            )
        case "vote_response":
            response = wire.vote_response
            return VoteResponse(
                source,
                target,
                term=response.term,
                election_term=response.election_term,
                pre_vote=response.pre_vote,
                granted=response.granted,
            )
        case "timeout_now":
            return TimeoutNow(source, target, wire.timeout_now.term)
        case _:
            raise InvalidRequest(
                f"voter {source} sent a Raft message of a kind that is not known here; upgrade this node"
            )


def spans_of(batches: bytes) -> tuple[BatchSpan, ...]:
    """Returns where each of these whole batches lies. Raises CorruptMessage if they are not whole."""
    return tuple(
        BatchSpan(header.base_offset, header.next_offset, header.partition_leader_epoch, header.size_bytes)
        for _, header in split_batches(batches)
    )


def checked_spans(batches: bytes, from_offset: int) -> tuple[BatchSpan, ...]:
    """Returns the spans of batches that came from a peer, after checking each of them."""
    spans = []
    expected, term = from_offset, 0
    changes = {end_offset: voter_set(said) for end_offset, said in voters_in(batches)}
    for position, header in split_batches(batches):
        if header.base_offset != expected or header.partition_leader_epoch < term:
            raise CorruptMessage(
                f"a batch of offset {header.base_offset} and term {header.partition_leader_epoch} came where offset "
                f"{expected} and a term of {term} or more were due"
            )
        if not check_crc(batches, position, header):
            raise CorruptMessage(f"the metadata batch at offset {header.base_offset} was damaged on its way here")
        expected, term = header.next_offset, header.partition_leader_epoch
        spans.append(BatchSpan(header.base_offset, expected, term, header.size_bytes, changes.get(expected)))
    return tuple(spans)


def voter_set(said: Voters) -> VoterSet:
    """Returns who votes by this record, without where they are reached."""
    return VoterSet.of(ReplicaKey(voter.node_id, voter.directory_id) for voter in said.voters)


def first_batch_crc(batches: bytes) -> int:
    """Returns the CRC of the first of these batches, 0 without any: logs of one cluster have the same at offset 0."""
    return next((header.crc for _, header in split_batches(batches)), 0)
