//! The Merkle tree of RFC 6962 over the evidence log, from the hashes of all its leaves.

use aws_lc_rs::digest::{Context, SHA256};

/// A SHA-256 hash.
pub(crate) type Hash = [u8; 32];

/// SHA-256 over the parts, one after another.
pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    finish(context)
}

/// The hash that a context has come to.
pub(crate) fn finish(context: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The hash of an entry as a leaf.
pub(crate) fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry])
}

/// The root over these leaves. It is as deep as the tree: 16 for the longest log.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

/// The root that a leaf at `index` of `size` and its audit path lead to; none if the path does not fit there.
pub(crate) fn root_from_path(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let (mut node, mut last, mut hash) = (index, size.checked_sub(1)?, *leaf);
    if index > last {
        return None;
    }
    for sibling in path {
        if last == 0 {
            return None;
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
    (last == 0).then_some(hash)
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published example of the certificate transparency project.
    #[test]
    fn roots_are_those_of_the_published_example() {
        let leaves: Vec<Hash> = [&b""[..], b"\x00", b"\x10"]
            .iter()
            .map(|leaf| leaf_hash(leaf))
            .collect();
        assert_eq!(
            hex::encode(root(&leaves)),
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
        );
    }

    #[test]
    fn a_path_leads_to_the_root_from_its_own_place_only() {
        let leaves: Vec<Hash> = (0_u8..3).map(|leaf| leaf_hash(&[leaf])).collect();
        let path = [node_hash(&leaves[0], &leaves[1])];
        assert_eq!(root_from_path(&leaves[2], 2, 3, &path), Some(root(&leaves)));
        assert_ne!(root_from_path(&leaves[2], 1, 3, &path), Some(root(&leaves)));
        assert_eq!(root_from_path(&leaves[2], 3, 3, &path), None);
        assert_eq!(root_from_path(&leaves[2], 0, 0, &[]), None);
    }
}
