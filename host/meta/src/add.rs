//! ADD: plan everything that can be planned, then do it; on failure take it back.
//!
//! Owns: the order of planning and doing over several delegates, and what happens when an attachment of the same name is
//! remembered already. All components at the head of each chain are planned and checked before the first change; a
//! component behind an executable is planned when that has run, because it has to see what that did.

use std::time::Instant;

use weft_cni::CniResult;
use weft_cni::Error;
use weft_executor::operation::Step;
use weft_executor::reach::reach;
use weft_json::Value;
use weft_kernel::{Netns, System};
use weft_store::journal::Attachment as Journal;

use crate::convert;
use crate::delegates::Attachment;
use crate::errors;
use crate::incoming::Incoming;
use crate::log::{Level, Log};
use crate::planner::{self, Part, Planned};
use crate::record::{Begin, Effect, Record, Story};
use crate::session::{LOCK_WAIT, Node, Session};
use crate::shared;
use crate::undo;

/// Runs an ADD; the result in the requested version.
pub fn add(node: &Node, incoming: &Incoming, log: &Log) -> Result<Value, Error> {
    let attachments = incoming.attachments()?;
    let netns = sandbox(incoming)?;
    let netns_id = netns.as_ref().and_then(Netns::identity).unwrap_or_default();
    let deadline = Some(Instant::now() + LOCK_WAIT);
    let shared = node.state.share(deadline).map_err(errors::of_store)?;
    let journal = node.state.lock::<Record>(&incoming.key(), deadline).map_err(errors::of_store)?;
    let kernel = System::new(netns);
    if let Some(entry) = journal.entry() {
        let stands = entry.problem.is_none() && !entry.void;
        let story = Story::read(entry.records);
        let mut session = Session::new(node, incoming, log, kernel, Some(journal));
        if stands && let Some(result) = standing(&mut session, &story, netns_id)? {
            return Ok(result);
        }
        // A half-made or outdated attachment of the same name: undone before it is made anew.
        undo::story(&mut session, &story, entry.void)?;
        let Session { kernel, journal: Some(mut journal), .. } = session else {
            return Err(Error::internal("the journal was lost".to_owned()));
        };
        journal.restart().map_err(errors::of_store)?;
        return fresh(node, incoming, log, kernel, journal, netns_id, attachments, shared);
    }
    fresh(node, incoming, log, kernel, journal, netns_id, attachments, shared)
}

/// The namespace that a request names. IPAM alone needs none.
pub(crate) fn sandbox(incoming: &Incoming) -> Result<Option<Netns>, Error> {
    let path = std::path::Path::new(&incoming.netns);
    if incoming.is_ipam() {
        return Ok(Netns::open(path).ok().flatten());
    }
    let netns = Netns::open(path).map_err(errors::of_netns)?.ok_or_else(|| {
        Error::invalid_netns(format!(
            "CNI_NETNS: {}: no such file; the runtime must make the namespace first",
            path.display()
        ))
    })?;
    let own = Netns::current().map_err(errors::of_netns)?;
    if netns.same_as(&own) && !incoming.netns_override {
        return Err(Error::invalid_netns(format!(
            "CNI_NETNS: {} is the node's own namespace, not a container's (set CNI_NETNS_OVERRIDE=1 if that is meant)",
            path.display()
        )));
    }
    Ok(Some(netns))
}

/// The stored result of an attachment that stands as it was made, for the same request.
fn standing(session: &mut Session<'_>, story: &Story, netns_id: (u64, u64)) -> Result<Option<Value>, Error> {
    let (Some(begin), Some(result)) = (&story.begin, &story.result) else { return Ok(None) };
    let same = begin.netns_id == netns_id && begin.config == session.incoming.config_value();
    if !same || !crate::check::problems(session, story)?.is_empty() {
        return Ok(None);
    }
    Ok(Some(result.clone()))
}

#[allow(clippy::too_many_arguments, reason = "all of it was settled by the caller, and none of it belongs together")]
fn fresh(
    node: &Node,
    incoming: &Incoming,
    log: &Log,
    kernel: System,
    journal: Journal<Record>,
    netns_id: (u64, u64),
    attachments: Vec<Attachment>,
    shared: weft_store::journal::Shared<'_>,
) -> Result<Value, Error> {
    let mut session = Session::new(node, incoming, log, kernel, Some(journal));
    session.record(Record::Begin(Begin {
        config: incoming.config_value(),
        netns: incoming.netns.clone(),
        netns_id,
        args: incoming.args_text.clone(),
        path: incoming.path_text.clone(),
    }))?;
    match attach(&mut session, attachments, Some(&shared)).and_then(|result| commit(&mut session, &result)) {
        Ok(value) => {
            session.finish();
            Ok(value)
        }
        // Why it failed comes first; what could not be taken back stays in the journal for DEL.
        Err(error) => match undo::failed_add(session, shared) {
            Ok(()) => Err(error),
            Err(second) => Err(error.with_details(format!("and taking it back failed: {second}"))),
        },
    }
}

/// Remembers that the attachment stands, with the result in the request's version.
fn commit(session: &mut Session<'_>, result: &CniResult) -> Result<Value, Error> {
    let value = result.to_json(session.incoming.version)?;
    session.record(Record::Commit { result: value.clone() })?;
    Ok(value)
}

/// What a dry run finds: the plans and operations of every component, and the executables that would run.
pub struct Preview {
    /// One an attachment, in order.
    pub attachments: Vec<PreviewAttachment>,
    /// The result as far as it can be known.
    pub result: CniResult,
}

/// One attachment of a [`Preview`].
pub struct PreviewAttachment {
    /// The network.
    pub network: String,
    /// The interface in the sandbox.
    pub ifname: String,
    /// What its chain does, in order.
    pub parts: Vec<PreviewPart>,
}

/// An element of a chain in a [`Preview`].
pub enum PreviewPart {
    /// A component's plan.
    Component(Box<Planned>),
    /// An executable, whose effects aren't known.
    Native(std::path::PathBuf),
}

/// Plans a request on this node as it is now, changing nothing.
pub fn preview(node: &Node, incoming: &Incoming, log: &Log) -> Result<Preview, Error> {
    let attachments = incoming.attachments()?;
    let netns = sandbox(incoming)?;
    let mut session = Session::new(node, incoming, log, System::new(netns), None);
    let mut preview = Preview { attachments: Vec::new(), result: CniResult::default() };
    for attachment in attachments {
        let mut parts = Vec::new();
        let mut previous = incoming.previous.clone().filter(|_| !incoming.is_meta());
        for element in &attachment.chain {
            match planner::resolve(&mut session, element, &attachment.ifname)? {
                Part::Native(program) => parts.push(PreviewPart::Native(program)),
                Part::Component(ready) => {
                    let planned = planner::plan(
                        &mut session,
                        *ready,
                        &attachment.network,
                        &attachment.ifname,
                        previous.as_ref(),
                    )?;
                    previous = Some(planned.result.clone());
                    parts.push(PreviewPart::Component(Box::new(planned)));
                }
            }
        }
        if attachment.master {
            preview.result = previous.unwrap_or_default();
        }
        preview.attachments.push(PreviewAttachment { network: attachment.network, ifname: attachment.ifname, parts });
    }
    Ok(preview)
}

/// An attachment on its way.
struct Run {
    attachment: Attachment,
    /// How much of the chain is planned or done.
    position: usize,
    /// Planned, not done.
    planned: Vec<Planned>,
    previous: Option<CniResult>,
}

fn attach(
    session: &mut Session<'_>,
    attachments: Vec<Attachment>,
    shared: Option<&weft_store::journal::Shared<'_>>,
) -> Result<CniResult, Error> {
    if session.incoming.is_ipam() {
        let incoming = session.incoming;
        let allocation =
            planner::allocate(session, &incoming.kind, &incoming.config, &incoming.network, &incoming.ifname)?;
        return Ok(convert::of_allocation(&allocation));
    }
    let mut runs = Vec::with_capacity(attachments.len());
    for attachment in attachments {
        let previous = session.incoming.previous.clone().filter(|_| !session.incoming.is_meta());
        let mut run = Run { attachment, position: 0, planned: Vec::new(), previous };
        if session.incoming.is_meta() {
            free_name(session, &run.attachment)?;
        }
        plan_components(session, &mut run)?;
        runs.push(run);
    }
    // Everything that could be planned is planned: from here on the node changes.
    let mut batch = Vec::new();
    let mut master = None;
    for mut run in runs {
        batch.append(&mut run.planned);
        while run.position < run.attachment.chain.len() {
            flush(session, &mut batch, shared)?;
            run_native(session, &mut run)?;
            plan_components(session, &mut run)?;
            batch.append(&mut run.planned);
        }
        if run.attachment.master {
            master = run.previous;
        }
    }
    flush(session, &mut batch, shared)?;
    Ok(master.unwrap_or_default())
}

/// The interface must not exist yet: said before anything is done, also where an executable would make it.
fn free_name(session: &mut Session<'_>, attachment: &Attachment) -> Result<(), Error> {
    let chained_only = attachment.chain.iter().all(|element| element.kind == "loopback");
    if chained_only || !session.link_exists(weft_contract::types::Place::Sandbox, &attachment.ifname)? {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "{}: the sandbox already has an interface named {}",
        attachment.network, attachment.ifname
    )))
}

/// Plans the components from where a chain stands up to the next executable.
fn plan_components(session: &mut Session<'_>, run: &mut Run) -> Result<(), Error> {
    while let Some(element) = run.attachment.chain.get(run.position) {
        let started = Instant::now();
        let ready = match planner::resolve(session, element, &run.attachment.ifname)? {
            Part::Native(_) => return Ok(()),
            Part::Component(ready) => ready,
        };
        let attachment = &run.attachment;
        let planned = planner::plan(session, *ready, &attachment.network, &attachment.ifname, run.previous.as_ref())?;
        session.log.write(
            Level::Debug,
            format_args!(
                "planned network={} ifname={} delegate={} steps={} ms={:.2}",
                attachment.network,
                attachment.ifname,
                planned.plan.delegate,
                planned.steps.len(),
                started.elapsed().as_secs_f64() * 1e3
            ),
        );
        run.previous = Some(planned.result.clone());
        run.planned.push(planned);
        run.position += 1;
    }
    Ok(())
}

fn run_native(session: &mut Session<'_>, run: &mut Run) -> Result<(), Error> {
    let element = &run.attachment.chain[run.position];
    let program = session.executable(&element.kind)?;
    let result = session
        .native(&program, &element.config, &run.attachment.ifname, run.previous.as_ref())
        .map_err(|error| error.context(&run.attachment.network))?;
    run.previous = Some(result);
    run.position += 1;
    Ok(())
}

/// Carries out what is planned: one journal entry and one batch of operations for all of it.
fn flush(
    session: &mut Session<'_>,
    batch: &mut Vec<Planned>,
    shared: Option<&weft_store::journal::Shared<'_>>,
) -> Result<(), Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut delegates = Vec::new();
    let mut plans = Vec::with_capacity(batch.len());
    for planned in batch.drain(..) {
        delegates.extend(planned.steps.iter().map(|_| planned.plan.delegate.clone()));
        steps.extend(planned.steps);
        session.record(Record::Wanted(Box::new(planned.plan.clone())))?;
        plans.push(planned.plan);
    }
    if let Some(shared) = shared
        && let Err(error) = shared::remember(shared, &steps)
    {
        // Some of them are remembered: the undo, for which it makes no difference that none was made, forgets them.
        session.effects.push(Effect::Steps(steps));
        return Err(error);
    }
    match session.carry_out(steps, &delegates) {
        Ok(()) => Ok(()),
        // Another process made a shared object at the same time: look again and adopt it.
        Err(failure) if failure.is_race() => {
            for plan in &plans {
                again(session, plan)?;
            }
            Ok(())
        }
        Err(failure) => Err(failure.into_error()),
    }
}

fn again(session: &mut Session<'_>, plan: &crate::record::Plan) -> Result<(), Error> {
    let Session { kernel, journal, effects, .. } = session;
    let result = reach(kernel, &plan.wanted, &mut |steps: &[Step]| {
        effects.push(Effect::Steps(steps.to_vec()));
        match journal {
            Some(journal) => journal.append(&Record::Steps { steps: steps.to_vec() }).map_err(errors::of_store),
            None => Ok(()),
        }
    });
    result.map(drop).map_err(|error| errors::of_reach(&plan.delegate, error))
}
