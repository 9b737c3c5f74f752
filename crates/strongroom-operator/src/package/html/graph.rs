//! The graph as a drawing: kinds in columns, relations from left to right.

use std::collections::{BTreeMap, BTreeSet};

use super::{Page, escape, short};
use crate::finding::{Edge, Graph, Node};
use crate::limits::REPORT_NODES;

/// The columns, with the kinds that stand in each.
const COLUMNS: [(&str, &[&str]); 5] = [
    ("Accounts", &["account", "deployment"]),
    ("Identities", &["identity"]),
    ("Keys and versions", &["key", "key-version"]),
    ("Vaults", &["vault"]),
    ("Dependents and sinks", &[]),
];

const COLUMN_WIDTH: usize = 232;
const BOX_WIDTH: usize = 176;
const ROW_HEIGHT: usize = 46;
const BOX_HEIGHT: usize = 34;
const TOP: usize = 40;
const LETTERS: usize = 25;

pub(super) fn draw(page: &mut Page, graph: &Graph) {
    page.raw("<section id=\"graph\"><h2>What stands with what</h2>\n");
    let shown = choose(graph);
    let (places, height) = place(&shown);
    let width = COLUMN_WIDTH * COLUMNS.len();
    page.raw(&format!(
        "<svg role=\"img\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\"><title>Accounts, identities, keys, vaults and dependents</title>\n"
    ));
    for (column, (title, _)) in COLUMNS.iter().enumerate() {
        page.raw(&format!(
            "<text class=\"head\" x=\"{}\" y=\"20\">{title}</text>\n",
            column * COLUMN_WIDTH + 12
        ));
    }
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (places.get(edge.from.as_str()), places.get(edge.to.as_str())) {
            page.raw(&path(edge, *from, *to));
        }
    }
    for node in &shown {
        if let Some(at) = places.get(node.id.as_str()) {
            page.raw(&boxed(node, *at));
        }
    }
    page.raw("</svg>");
    page.left_out(graph.nodes.len() - shown.len(), "graph.json");
    page.raw("<p class=\"soft\">A dashed line is declared in the approved design and was not read.</p></section>\n");
}

/// The nodes that are drawn: account by account with what it leads to, as far as there is room.
fn choose(graph: &Graph) -> Vec<&Node> {
    if graph.nodes.len() <= REPORT_NODES {
        return graph.nodes.iter().collect();
    }
    let mut neighbours: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for edge in &graph.edges {
        neighbours.entry(&edge.from).or_default().push(&edge.to);
    }
    let mut chosen = BTreeSet::new();
    for account in graph.nodes.iter().filter(|node| node.kind == "account") {
        let mut waiting = vec![account.id.as_str()];
        while let Some(id) = waiting.pop().filter(|_| chosen.len() < REPORT_NODES) {
            if chosen.insert(id) {
                waiting.extend(neighbours.get(id).into_iter().flatten());
            }
        }
    }
    graph
        .nodes
        .iter()
        .filter(|node| chosen.contains(node.id.as_str()))
        .collect()
}

type At = (usize, usize);

fn place<'a>(nodes: &[&'a Node]) -> (BTreeMap<&'a str, At>, usize) {
    let mut rows = [0_usize; COLUMNS.len()];
    let mut places = BTreeMap::new();
    for node in nodes {
        let known = COLUMNS
            .iter()
            .position(|(_, kinds)| kinds.contains(&node.kind.as_str()));
        let column = known.unwrap_or(COLUMNS.len() - 1);
        if let Some(row) = rows.get_mut(column) {
            places.insert(
                node.id.as_str(),
                (column * COLUMN_WIDTH + 12, TOP + *row * ROW_HEIGHT),
            );
            *row += 1;
        }
    }
    let most = rows.into_iter().max().unwrap_or(0);
    (places, TOP + most.max(1) * ROW_HEIGHT + 30)
}

fn path(edge: &Edge, from: At, to: At) -> String {
    let middle = BOX_HEIGHT / 2;
    // Within a column and to the left, the line leaves and arrives on the right.
    let (start, end) = (
        from.0 + BOX_WIDTH,
        if to.0 > from.0 { to.0 } else { to.0 + BOX_WIDTH },
    );
    // Beyond the next column it passes below what lies between.
    let dip = if to.0 > from.0 + COLUMN_WIDTH {
        ROW_HEIGHT
    } else {
        0
    };
    let bend = start.max(end) + 24;
    let bends = if to.0 > from.0 {
        ((start + end) / 2, (start + end) / 2)
    } else {
        (bend, bend)
    };
    let class = if edge.known_by == "declared" {
        " class=\"declared\""
    } else {
        ""
    };
    format!(
        "<path{class} d=\"M{start} {} C{} {} {} {} {end} {}\"><title>{} {} {}</title></path>\n",
        from.1 + middle,
        bends.0,
        from.1 + middle + dip,
        bends.1,
        to.1 + middle + dip,
        to.1 + middle,
        escape(short(&edge.from)),
        escape(&edge.relation),
        escape(short(&edge.to))
    )
}

fn boxed(node: &Node, (x, y): At) -> String {
    let class: String = node
        .kind
        .chars()
        .filter(|letter| letter.is_ascii_lowercase() || *letter == '-')
        .collect();
    let label: String = node.label.chars().take(LETTERS).collect();
    let owner = node
        .owner
        .as_deref()
        .map_or_else(|| node.kind.clone(), |owner| format!("{}, {owner}", node.kind));
    let owner: String = owner.chars().take(LETTERS + 3).collect();
    format!(
        "<g><rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"3\"/>\
         <title>{}</title><text x=\"{}\" y=\"{}\">{}</text><text class=\"sub\" x=\"{}\" y=\"{}\">{}</text></g>\n",
        escape(&node.id),
        x + 8,
        y + 14,
        escape(&label),
        x + 8,
        y + 28,
        escape(&owner)
    )
}
