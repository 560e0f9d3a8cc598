use crate::answer::Answer;
use crate::batch::{self, Worker, BATCH_MAX};
use crate::codec::Codec;
use crate::context::Context;
use crate::conversation::{Conversation, Heard, Talk};
use crate::error::{code, Broken, Error, Result};
use crate::request::{Asked, Fired, Init, Request, Run, Wake};
use crate::said::{refused, said, too_long};
use crate::value::{FromValue, IntoValue, Value};
use std::io::{Read, Write};

/// The version of the conversation.
const ABI: u32 = 1;

/// What this crate calls itself in the hello.
const SDK: &str = concat!("rust/", env!("CARGO_PKG_VERSION"));

/// A step's configuration, as the workflow has it. A key that it does not have is refused.
/// Implement it for a struct of [`record!`](crate::record); `()` is for plugins that have
/// none.
pub trait Config: FromValue {
    /// Refuses a configuration that is not good; it may also fill in defaults.
    fn validate(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Config for () {}

/// A plugin with its functions. It is made by [`Plugin::trigger`], [`Plugin::action`] or
/// [`Plugin::output`] and serves one conversation.
pub struct Plugin<C> {
    name: String,
    job: Job<C>,
    check: Option<Box<Check<C>>>,
    together: Option<Box<Together<C>>>,
    codec: &'static dyn Codec,
    config: Option<C>,
    init: Init,
}

/// How an action or output works on several events at once.
type Together<C> = dyn FnMut(&mut Context<'_>, &C, Vec<Run<'_>>) -> Vec<Result<Value>>;

type Check<C> = dyn FnMut(&mut Context<'_>, &C) -> Result<()>;

type Work<C, O> = Box<dyn FnMut(&mut Context<'_>, &C, Run<'_>) -> Result<O>>;

type Wakes<C> = Box<dyn FnMut(&mut Context<'_>, &C, Wake) -> Result<Fired>>;

enum Job<C> {
    Trigger(Wakes<C>),
    Action(Work<C, Value>),
    Output(Work<C, ()>),
}

impl<C> Job<C> {
    /// The kind of request that the plugin works on; empty for a trigger.
    fn asks(&self) -> &'static str {
        match self {
            Job::Trigger(_) => "",
            Job::Action(_) => "run",
            Job::Output(_) => "deliver",
        }
    }

    /// Works on one event of a batch.
    fn one(&mut self, context: &mut Context<'_>, config: &C, run: Run<'_>) -> Result<Value> {
        match self {
            Job::Action(f) => f(context, config, run),
            Job::Output(f) => f(context, config, run).map(|()| Value::Null),
            Job::Trigger(_) => Err("a trigger has no batches".into()),
        }
    }
}

impl<C: Config + 'static> Plugin<C> {
    /// A trigger: `wake` is called at start, and again after the time that its answer asked
    /// for. The name is the manifest's.
    pub fn trigger<F>(name: &str, wake: F) -> Plugin<C>
    where
        F: FnMut(&mut Context<'_>, &C, Wake) -> Result<Fired> + 'static,
    {
        Plugin::new(name, Job::Trigger(Box::new(wake)))
    }

    /// An action: `run` is called for an event and answers with the data of the step's result.
    pub fn action<F, T>(name: &str, mut run: F) -> Plugin<C>
    where
        F: FnMut(&mut Context<'_>, &C, Run<'_>) -> Result<T> + 'static,
        T: IntoValue,
    {
        Plugin::new(name, Job::Action(Box::new(move |x, c, r| run(x, c, r).map(T::into_value))))
    }

    /// An output: `deliver` is called when the actions of a run are over; no error means
    /// delivered.
    pub fn output<F>(name: &str, deliver: F) -> Plugin<C>
    where
        F: FnMut(&mut Context<'_>, &C, Run<'_>) -> Result<()> + 'static,
    {
        Plugin::new(name, Job::Output(Box::new(deliver)))
    }

    fn new(name: &str, job: Job<C>) -> Plugin<C> {
        #[cfg(feature = "json")]
        let codec = &crate::json::Json;
        #[cfg(not(feature = "json"))]
        let codec = &crate::cbor::Cbor;
        Plugin { name: name.to_string(), job, check: None, together: None, codec, config: None, init: Init::default() }
    }

    /// What the self-check does: no error means that the plugin could do its work on this
    /// machine now. It must not change anything. Without one, every check passes.
    #[must_use]
    pub fn check<F>(mut self, check: F) -> Plugin<C>
    where
        F: FnMut(&mut Context<'_>, &C) -> Result<()> + 'static,
    {
        self.check = Some(Box::new(check));
        self
    }

    /// How an action or an output works on several events at once, which pays where one write
    /// or one request serves many: the host may ask so when a queue has built up. It returns
    /// an outcome for each of the events, in order. It may return fewer, for as many as it
    /// came to: the host asks for the rest again. Without it the function for one event is
    /// called for one event after another. For an output, the value is passed over.
    #[must_use]
    pub fn batch<F>(mut self, batch: F) -> Plugin<C>
    where
        F: FnMut(&mut Context<'_>, &C, Vec<Run<'_>>) -> Vec<Result<Value>> + 'static,
    {
        self.together = Some(Box::new(batch));
        self
    }

    /// Speaks lines of JSON, which a person can read and write, instead of CBOR.
    #[must_use]
    pub fn json(mut self) -> Plugin<C> {
        self.codec = &crate::json::Json;
        self
    }

    /// Serves the host on stdin and stdout until stdin ends, and ends the program with exit
    /// code 1 when the conversation breaks. Call it last in main.
    pub fn main(mut self) {
        let (input, output) = (std::io::stdin(), std::io::stdout());
        if let Err(e) = self.serve(input.lock(), output.lock()) {
            eprintln!("{}: {}", self.name, e);
            std::process::exit(1);
        }
    }

    /// Holds one conversation with a host: greets, takes the configuration and answers
    /// requests until `input` ends.
    pub fn serve<R: Read, W: Write>(&mut self, input: R, output: W) -> std::result::Result<(), Broken> {
        let mut talk = Conversation::new(input, output, self.codec);
        talk.say(&self.hello())?;
        match talk.hear()? {
            None => return Ok(()),
            Some(first) => {
                if !self.begin(first, &mut talk)? {
                    return Ok(());
                }
            }
        }
        talk.each(|heard, talk| match heard {
            Heard::Request(request) => self.request(request, talk).map(|()| true),
            Heard::Message(message) if message.get("init").is_none() => {
                self.request(Request::of(message)?, talk).map(|()| true)
            }
            Heard::Message(message) => self.begin(message, talk),
        })
    }

    pub(crate) fn hello(&self) -> Value {
        let hello = Value::map()
            .with("abi", ABI)
            .with("type", self.kind())
            .with("plugin", self.name.as_str())
            .with("sdk", SDK);
        let hello =
            if self.job.asks().is_empty() { hello } else { hello.with("batch", BATCH_MAX).with("reinit", true) };
        Value::map().with("hello", hello)
    }

    fn kind(&self) -> &'static str {
        match self.job {
            Job::Trigger(_) => "trigger",
            Job::Action(_) => "action",
            Job::Output(_) => "output",
        }
    }

    /// Takes the init, the first or another one, and says ready, or why not; false when the plugin
    /// refuses.
    pub(crate) fn begin(&mut self, mut first: Value, talk: &mut dyn Talk) -> std::result::Result<bool, Broken> {
        let init = first.take("init");
        if init.is_null() {
            return Err(Broken("read: first message: want init".to_string()));
        }
        self.init = init.read().map_err(|e| Broken(format!("read: init: {}", e)))?;
        let config = std::mem::replace(&mut self.init.config, Value::Null);
        match configured(config) {
            Ok(config) => {
                self.config = Some(config);
                talk.say(&Value::map().with("ready", Value::map()))?;
                Ok(true)
            }
            Err(e) => {
                let error = said(code::PLUGIN, &format!("config: {}", e));
                talk.say(&Value::map().with("error", error))?;
                Ok(false)
            }
        }
    }

    /// Answers one request. Its error is one of the conversation, never the plugin's.
    pub(crate) fn request(&mut self, request: Request<'_>, talk: &mut dyn Talk) -> std::result::Result<(), Broken> {
        let id = request.id;
        let failed = match self.answer(request, talk)? {
            Ok(answer) => match talk.answer(id, answer)? {
                None => return Ok(()),
                Some(size) => Error::new(format!("answer: {}", too_long(size))),
            },
            Err(e) => e,
        };
        talk.say(&Value::map().with("id", id).with("error", refused(&failed)))?;
        Ok(())
    }

    /// Calls the plugin's function for a request.
    fn answer(&mut self, request: Request<'_>, talk: &mut dyn Talk) -> std::result::Result<Result<Answer>, Broken> {
        let config = match &self.config {
            Some(config) => config,
            None => return Err(Broken("read: message: want init first".to_string())),
        };
        let mut context = Context::new(talk, &self.init, request.now_ms);
        let answer = match (request.asked, &mut self.job) {
            (Asked::Wake(w), Job::Trigger(wake)) => wake(&mut context, config, w).map(Answer::Fired),
            (Asked::Run(r), Job::Action(run)) => run(&mut context, config, r).map(Answer::Data),
            (Asked::Deliver(r), Job::Output(deliver)) => deliver(&mut context, config, r).map(|()| Answer::Done),
            (Asked::Batch(many), job) if !job.asks().is_empty() && many.kind == job.asks() => {
                let silent = matches!(job, Job::Output(_));
                let mut one = |x: &mut Context<'_>, run: Run<'_>| job.one(x, config, run);
                match &mut self.together {
                    None => batch::answer(Worker::Singly(&mut one), silent, &mut context, many),
                    Some(f) => {
                        let mut all = |x: &mut Context<'_>, work: Vec<Run<'_>>| f(x, config, work);
                        batch::answer(Worker::Together(&mut all), silent, &mut context, many)
                    }
                }
            }
            (Asked::Check, _) => match &mut self.check {
                Some(check) => check(&mut context, config).map(|()| Answer::Done),
                None => Ok(Answer::Done),
            },
            (asked, _) => Err(self.not_mine(asked.kind())),
        };
        match context.broken.take() {
            Some(broken) => Err(broken),
            None => Ok(answer),
        }
    }

    fn not_mine(&self, kind: &str) -> Error {
        Error::new(format!("request: {}: not one for {} {:?}", kind, self.kind(), self.name))
    }
}

/// Reads the configuration and asks it whether it is good.
fn configured<C: Config>(config: Value) -> std::result::Result<C, String> {
    let config = if config.is_null() { Value::map() } else { config };
    let mut config = C::from_value(&config, true)?;
    config.validate().map_err(|e| e.to_string())?;
    Ok(config)
}
