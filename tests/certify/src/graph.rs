//! What was before what. Transactions, reads, and points of the clock; that there is an order for all of it is that there is no circle.

use crate::order::{NONE, Order};
use crate::{Anomaly, Certificate, Moment, NEVER, Span};
use std::collections::VecDeque;

/// From how many places of what is left a short circle is looked for.
const TRIES: usize = 4;

pub struct Graph {
    /// When each transaction and each read was asked for and answered.
    spans: Vec<Span>,
    transactions: u32,
    /// The operation behind each read.
    readers: Vec<usize>,
    edges: Vec<(u32, u32)>,
    nodes: u32,
}

/// Edges by where they begin.
struct Out {
    begins: Vec<u32>,
    ends: Vec<u32>,
}

impl Out {
    fn of(nodes: u32, edges: impl Iterator<Item = (u32, u32)> + Clone) -> Out {
        let mut begins = vec![0_u32; nodes as usize + 1];
        edges.clone().for_each(|(from, _)| begins[from as usize + 1] += 1);
        for i in 1..begins.len() {
            begins[i] += begins[i - 1];
        }
        let mut at = begins.clone();
        let mut ends = vec![0; begins[nodes as usize] as usize];
        for (from, to) in edges {
            let place = &mut at[from as usize];
            ends[*place as usize] = to;
            *place += 1;
        }
        Out { begins, ends }
    }

    fn of_node(&self, node: u32) -> &[u32] {
        &self.ends[self.begins[node as usize] as usize..self.begins[node as usize + 1] as usize]
    }

    /// Takes away again and again what nothing leads to; what is left lies on circles, or behind them.
    fn trim(&self, nodes: u32) -> Vec<bool> {
        let mut arriving = vec![0_u32; nodes as usize];
        self.ends.iter().for_each(|to| arriving[*to as usize] += 1);
        let mut ready: Vec<u32> = (0..nodes).filter(|node| arriving[*node as usize] == 0).collect();
        while let Some(node) = ready.pop() {
            for to in self.of_node(node) {
                arriving[*to as usize] -= 1;
                if arriving[*to as usize] == 0 {
                    ready.push(*to);
                }
            }
        }
        arriving.into_iter().map(|n| n > 0).collect()
    }
}

/// A line of points, each later than the one before: what was answered leads to it, and it leads to what was asked for after that.
#[derive(Default)]
struct Clock {
    now: Option<u32>,
    was_read: bool,
}

impl Clock {
    fn answered(&mut self, node: u32, nodes: &mut u32, edges: &mut Vec<(u32, u32)>) {
        if self.now.is_none() || self.was_read {
            let next = *nodes;
            *nodes += 1;
            edges.extend(self.now.map(|now| (now, next)));
            (self.now, self.was_read) = (Some(next), false);
        }
        edges.extend(self.now.map(|now| (node, now)));
    }

    fn asked(&mut self, node: u32, edges: &mut Vec<(u32, u32)>) {
        edges.extend(self.now.map(|now| (now, node)));
        self.was_read = true;
    }
}

/// The nodes of a circle: something leads to each of what is left, so that whoever goes back comes by twice.
fn some_circle(back: &Out, left: &[bool]) -> Vec<u32> {
    let mut place = vec![NONE; left.len()];
    let mut way: Vec<u32> = vec![];
    let mut node = left.iter().position(|left| *left).expect("something is left") as u32;
    while place[node as usize] == NONE {
        place[node as usize] = way.len() as u32;
        way.push(node);
        let before = back.of_node(node).iter().find(|before| left[**before as usize]);
        node = *before.expect("something leads to it");
    }
    way.split_off(place[node as usize] as usize)
}

impl Graph {
    /// The transactions, in the order of each object.
    pub fn of(order: &Order) -> Graph {
        let spans = order.asked.iter().zip(&order.answered);
        let spans: Vec<Span> = spans.map(|(asked, answered)| Span { asked: *asked, answered: *answered }).collect();
        let transactions = spans.len() as u32;
        let mut graph = Graph { spans, transactions, readers: vec![], edges: vec![], nodes: transactions };
        for object in 0..order.objects() {
            for place in 0..order.places(object) {
                if let Some(writer) = order.writer(object, place) {
                    let next = order.version(object, place + 1).node;
                    // What one transaction did to one card stays in it.
                    if writer != next {
                        graph.edge(writer, next);
                    }
                }
            }
        }
        graph
    }

    pub fn edge(&mut self, from: u32, to: u32) {
        self.edges.push((from, to));
    }

    /// A node for somebody who reads.
    pub fn reader(&mut self, operation: usize, span: Span) -> u32 {
        self.spans.push(span);
        self.readers.push(operation);
        self.nodes += 1;
        self.nodes - 1
    }

    /// Questions and answers, in order: moment, whether it is an answer (a question of the same moment is not after it), node.
    fn moments(&self) -> Vec<(Moment, bool, u32)> {
        let mut moments = Vec::with_capacity(2 * self.spans.len());
        for (node, span) in self.spans.iter().enumerate() {
            if span.asked > 0 {
                moments.push((span.asked, false, node as u32));
            }
            if span.answered != NEVER {
                moments.push((span.answered, true, node as u32));
            }
        }
        moments.sort_unstable();
        moments
    }

    /// What was answered before something else was asked for was before it.
    pub fn one_clock(&mut self) {
        let mut clock = Clock::default();
        for (_, is_answer, node) in self.moments() {
            if is_answer {
                clock.answered(node, &mut self.nodes, &mut self.edges);
            } else {
                clock.asked(node, &mut self.edges);
            }
        }
    }

    /// As [`Graph::one_clock`], but that a read need not have seen what was written before it was asked for.
    pub fn two_clocks(&mut self) {
        let (mut of_reads, mut of_all) = (Clock::default(), Clock::default());
        for (_, is_answer, node) in self.moments() {
            let is_read = node >= self.transactions;
            match (is_answer, is_read) {
                (true, true) => {
                    of_reads.answered(node, &mut self.nodes, &mut self.edges);
                    of_all.answered(node, &mut self.nodes, &mut self.edges);
                }
                (true, false) => of_all.answered(node, &mut self.nodes, &mut self.edges),
                (false, true) => of_reads.asked(node, &mut self.edges),
                (false, false) => of_all.asked(node, &mut self.edges),
            }
        }
    }

    /// Looks for a circle, and says what it is.
    pub fn judge(self, order: &Order, certificate: &mut Certificate) {
        (certificate.nodes, certificate.edges) = (self.nodes as usize, self.edges.len());
        let out = Out::of(self.nodes, self.edges.iter().copied());
        let left = out.trim(self.nodes);
        if !left.contains(&true) {
            return;
        }
        let inner = |edge: &(u32, u32)| left[edge.0 as usize] && left[edge.1 as usize];
        let back = Out::of(self.nodes, self.edges.iter().copied().filter(inner).map(|(from, to)| (to, from)));
        // What is left both ways lies on circles, or between them.
        let mut on_circles = back.trim(self.nodes);
        on_circles.iter_mut().zip(&left).for_each(|(on, left)| *on &= left);
        let starts = some_circle(&back, &on_circles).into_iter().filter(|node| !self.is_clock(*node)).take(TRIES);
        let circle = starts.filter_map(|start| self.circle(start, &out, &on_circles)).min_by_key(Vec::len);
        self.tell(&circle.expect("what is on a circle leads back to itself"), order, certificate);
    }

    /// The shortest circle through a node, points of the clock not counted.
    fn circle(&self, start: u32, out: &Out, on_circles: &[bool]) -> Option<Vec<u32>> {
        let mut from = vec![NONE; self.nodes as usize];
        let mut todo = VecDeque::from([start]);
        while let Some(node) = todo.pop_front() {
            for to in out.of_node(node).iter().copied().filter(|to| on_circles[*to as usize]) {
                if from[to as usize] != NONE {
                    continue;
                }
                from[to as usize] = node;
                if to == start {
                    let mut circle = vec![start];
                    let mut at = node;
                    while at != start {
                        circle.push(at);
                        at = from[at as usize];
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if self.is_clock(to) { todo.push_front(to) } else { todo.push_back(to) }
            }
        }
        None
    }

    fn is_clock(&self, node: u32) -> bool {
        node as usize >= self.spans.len()
    }

    fn is_read(&self, node: u32) -> bool {
        node >= self.transactions && !self.is_clock(node)
    }

    fn tell(&self, circle: &[u32], order: &Order, certificate: &mut Certificate) {
        let reads: Vec<u32> = circle.iter().copied().filter(|node| self.is_read(*node)).collect();
        let uses_clock = circle.iter().any(|node| self.is_clock(*node));
        let after = |node: u32| {
            let at = circle.iter().position(|n| *n == node).expect("is on it");
            circle[(at + 1) % circle.len()]
        };
        let anomaly = match (reads.as_slice(), uses_clock) {
            ([], true) => Anomaly::Inverted,
            ([], false) => Anomaly::Crossed,
            (_, false) => Anomaly::NotOneCut,
            // It is before something that the clock puts before it.
            (reads, true) if reads.iter().any(|read| !self.is_clock(after(*read))) => Anomaly::StaleRead,
            _ => Anomaly::FutureRead,
        };
        let nodes: Vec<u32> = circle.iter().copied().filter(|node| *node < self.transactions).collect();
        let names: Vec<u32> = (0..order.moved.len() as u32)
            .filter(|name| order.node(*name).is_some_and(|node| nodes.contains(&node)))
            .collect();
        let operations: Vec<usize> =
            reads.iter().map(|read| self.readers[(*read - self.transactions) as usize]).collect();
        let steps: Vec<String> = circle.iter().map(|node| self.step(*node)).collect();
        let text = format!("each of these was before the next, and the last before the first: {}", steps.join(", "));
        certificate.find(anomaly, &operations, &names, text);
    }

    fn step(&self, node: u32) -> String {
        match node {
            _ if self.is_clock(node) => "by the clock".to_owned(),
            _ if self.is_read(node) => format!("read {}", self.readers[(node - self.transactions) as usize]),
            _ => format!("transaction {node}"),
        }
    }
}
