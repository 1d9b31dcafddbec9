//! Who waits for whom. petgraph finds the strongly connected parts; naming the ring in the words and order of the file is ours.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;

use super::Step;
use crate::problem::Problem;

/// The needs among steps that wait for each other without a ring, by their positions.
#[derive(Debug, Clone)]
pub struct Graph {
    needs: Vec<Vec<usize>>,
    dependants: Vec<Vec<usize>>,
}

impl Graph {
    /// Of the steps of one part of a plan (`steps` or `finally`). Needs outside of it do not count.
    pub fn new(steps: &[Step]) -> Self {
        let at: HashMap<&str, usize> = steps
            .iter()
            .enumerate()
            .map(|(at, step)| (step.id.as_str(), at))
            .collect();
        let needs: Vec<Vec<usize>> = steps
            .iter()
            .map(|step| {
                step.needs
                    .iter()
                    .filter_map(|need| at.get(need.step.as_str()).copied())
                    .collect()
            })
            .collect();
        let mut dependants = vec![Vec::new(); steps.len()];
        for (step, needed) in needs.iter().enumerate() {
            for needed in needed {
                dependants[*needed].push(step);
            }
        }
        Self { needs, dependants }
    }

    /// The positions that a step needs directly.
    pub fn needs(&self, step: usize) -> &[usize] {
        &self.needs[step]
    }

    /// The positions that need a step directly.
    pub fn dependants(&self, step: usize) -> &[usize] {
        &self.dependants[step]
    }

    /// An order in which every step stands behind what it needs, and otherwise as in the file.
    pub fn order(&self) -> Vec<usize> {
        let mut open: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut ready: BinaryHeap<Reverse<usize>> = open
            .iter()
            .enumerate()
            .filter(|(_, open)| **open == 0)
            .map(|(step, _)| Reverse(step))
            .collect();
        let mut order = Vec::with_capacity(open.len());
        while let Some(Reverse(step)) = ready.pop() {
            order.push(step);
            for dependant in &self.dependants[step] {
                open[*dependant] -= 1;
                if open[*dependant] == 0 {
                    ready.push(Reverse(*dependant));
                }
            }
        }
        order
    }

    /// The earliest wave in which each step could run: one more than the latest of those it needs.
    pub fn waves(&self) -> Vec<usize> {
        let mut waves = vec![0; self.needs.len()];
        for step in self.order() {
            waves[step] = self.needs[step]
                .iter()
                .map(|needed| waves[*needed] + 1)
                .max()
                .unwrap_or(0);
        }
        waves
    }
}

/// One problem for each part of the graph that waits for itself, with the shortest ring through its first step.
pub(super) fn rings(steps: &[Step]) -> Vec<Problem> {
    let graph = Graph::new(steps);
    let mut directed = DiGraph::<(), (), usize>::with_capacity(steps.len(), 0);
    let nodes: Vec<_> = steps.iter().map(|_| directed.add_node(())).collect();
    for (step, needs) in graph.needs.iter().enumerate() {
        for needed in needs {
            directed.add_edge(nodes[step], nodes[*needed], ());
        }
    }
    // Kosaraju's algorithm, as petgraph's Tarjan is recursive: a long chain of steps would end the stack.
    let mut parts: Vec<Vec<usize>> = kosaraju_scc(&directed)
        .into_iter()
        .filter(|part| part.len() > 1)
        .map(|part| {
            let mut part: Vec<usize> = part.into_iter().map(|node| node.index()).collect();
            part.sort_unstable();
            part
        })
        .collect();
    parts.sort_unstable();
    parts
        .iter()
        .filter_map(|part| ring(steps, &graph, part))
        .collect()
}

fn ring(steps: &[Step], graph: &Graph, part: &[usize]) -> Option<Problem> {
    let first = *part.first()?;
    // The way back to the first step, found breadth first, so it is a shortest one.
    let mut from: HashMap<usize, usize> = HashMap::new();
    let mut queue = VecDeque::from([first]);
    let mut last = None;
    'search: while let Some(step) = queue.pop_front() {
        for needed in graph.needs(step) {
            if *needed == first {
                last = Some(step);
                break 'search;
            }
            if part.binary_search(needed).is_ok() && !from.contains_key(needed) {
                from.insert(*needed, step);
                queue.push_back(*needed);
            }
        }
    }
    let mut way = vec![last?];
    while let Some(before) = way
        .last()
        .filter(|step| **step != first)
        .and_then(|step| from.get(step))
    {
        way.push(*before);
    }
    way.reverse();
    let names: Vec<String> = way
        .iter()
        .chain([&first])
        .map(|step| format!("`{}`", steps[*step].id))
        .collect();
    let message = format!("these steps wait for each other: {}", names.join(" needs "));
    let mut problem = Problem::error("ring", &steps[first].place, message);
    problem.labels.clear();
    for (at, step) in way.iter().enumerate() {
        let next = &steps[way.get(at + 1).copied().unwrap_or(first)];
        let need = steps[*step]
            .needs
            .iter()
            .find(|need| need.step == next.id)?;
        let word = if need.implied { "refers to" } else { "needs" };
        problem.labels.push((
            need.place.clone(),
            format!("`{}` {word} `{}`", steps[*step].id, next.id),
        ));
    }
    Some(problem.help("take one of these needs out"))
}
