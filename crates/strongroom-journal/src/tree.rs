//! The Merkle tree of RFC 6962 (the hash tree of C2SP logs): hashing, proofs and their verification. Pure.

use aws_lc_rs::digest::{Context, SHA256};

use crate::error::JournalError;

/// A SHA-256 tree hash.
pub type Hash = [u8; 32];

/// The hash of an entry as a leaf: SHA-256 over 0x00 and the entry.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    digest(&[&[0], entry])
}

/// Checks that `entry_hash` is leaf `index` of the tree with `size` leaves and this `root`.
pub fn verify_inclusion(
    entry_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), JournalError> {
    if index >= size {
        return Err(JournalError::BadProof);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *entry_hash);
    for sibling in proof {
        if last == 0 {
            return Err(JournalError::BadProof);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    accept(last == 0 && hash == *root)
}

/// Checks that the tree with `old_size` leaves and `old_root` is a prefix of the one with `new_size` and `new_root`.
pub fn verify_consistency(
    (old_size, old_root): (u64, &Hash),
    (new_size, new_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), JournalError> {
    if old_size > new_size {
        return Err(JournalError::BadProof);
    }
    if old_size == new_size {
        return accept(proof.is_empty() && old_root == new_root);
    }
    if old_size == 0 {
        return accept(proof.is_empty());
    }
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut rest = proof.iter();
    let first = if node == 0 {
        old_root
    } else {
        rest.next().ok_or(JournalError::BadProof)?
    };
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(JournalError::BadProof);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    accept(last == 0 && old == *old_root && new == *new_root)
}

/// The hash of two children: SHA-256 over 0x01, left and right.
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    digest(&[&[1], left, right])
}

/// The hash of a tree without leaves.
pub(crate) fn empty_root() -> Hash {
    digest(&[])
}

/// The root over `hashes`, which are themselves roots of equal, full subtrees (the last may not be full).
pub(crate) fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        [only] => *only,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// Source of the hashes of full subtrees: the node `index` of tree level `level` covers leaves
/// `index << level .. (index + 1) << level`.
pub(crate) trait Nodes {
    fn node(&self, level: u32, index: u64) -> Result<Hash, JournalError>;
}

/// The root of leaves `start .. end`, where `start` is a multiple of the largest power of two up to its length.
pub(crate) fn range_root(nodes: &impl Nodes, start: u64, end: u64) -> Result<Hash, JournalError> {
    let length = end - start;
    if length == 0 {
        return Ok(empty_root());
    }
    if length.is_power_of_two() && start.is_multiple_of(length) {
        return nodes.node(length.trailing_zeros(), start / length);
    }
    let middle = start + split_point(length);
    Ok(node_hash(
        &range_root(nodes, start, middle)?,
        &range_root(nodes, middle, end)?,
    ))
}

/// The audit path of leaf `index` in the tree of `size` leaves, from the leaf upwards.
pub(crate) fn inclusion_proof(nodes: &impl Nodes, index: u64, size: u64) -> Result<Vec<Hash>, JournalError> {
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split_point(end - start);
        if index < middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the first `old` leaves are a prefix of the tree of `new` leaves.
pub(crate) fn consistency_proof(nodes: &impl Nodes, old: u64, new: u64) -> Result<Vec<Hash>, JournalError> {
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new);
    while old != end {
        let middle = start + split_point(end - start);
        if old <= middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, start, middle)?);
            start = middle;
        }
    }
    if start != 0 {
        proof.push(range_root(nodes, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two smaller than `length` (which is at least 2).
fn split_point(length: u64) -> u64 {
    1 << (63 - (length - 1).leading_zeros())
}

fn accept(holds: bool) -> Result<(), JournalError> {
    if holds {
        Ok(())
    } else {
        Err(JournalError::BadProof)
    }
}

fn digest(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published example of the certificate transparency project: roots of its first one to eight leaves.
    #[test]
    fn roots_match_the_published_example_of_rfc_6962_implementations() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        let hex = |hash: Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(root_of(&[])),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            hex(root_of(&hashes[..1])),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(
            hex(root_of(&hashes)),
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
        );
    }
}
