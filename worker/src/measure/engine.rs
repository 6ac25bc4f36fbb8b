//! Engines that answer with a net.

use std::thread;

use secateur_proto::spec::Engine;

use super::MeasureError;
use crate::serve::{HostNet, NetFile};

/// A net in an engine.
pub(super) trait Answers {
    /// The logits of `count` prepared rows, one after the other.
    fn answer(&mut self, rows: &[f32], count: usize) -> Result<Vec<f32>, EngineError>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It is not part of this program.
    #[error("{}", missing(*.0))]
    NotBuilt(Engine),
    /// It does not take the net, or fails.
    #[error("{engine}: {message}")]
    Failed {
        /// The engine.
        engine: Engine,
        /// Its own words.
        message: String,
    },
    /// There is no thread for it.
    #[error("cannot start the thread that is timed")]
    Thread,
}

/// Whether this program can measure with `engine`.
#[must_use]
pub const fn is_built(engine: Engine) -> bool {
    match engine {
        Engine::Rten => cfg!(feature = "engine"),
        Engine::Score => true,
    }
}

/// What to do where it cannot.
#[must_use]
pub fn missing(engine: Engine) -> String {
    format!(
        "this program was built without the engine {engine}: build it with `cargo install --path coordinator --locked --features engine`, \
         or set measure: {{engine: {}}}",
        Engine::Score
    )
}

/// The engine with its version.
pub(super) fn name(engine: Engine) -> String {
    match engine {
        Engine::Rten => "rten 0.27".to_owned(),
        Engine::Score => format!("secateur score {}", env!("CARGO_PKG_VERSION")),
    }
}

/// Puts a net into an engine.
pub(super) type Start<'a> = &'a dyn Fn(&NetFile) -> Result<Box<dyn Answers>, EngineError>;

/// Runs `work` on a thread of its own, on which the engine computes and no other.
pub(super) fn on_one_thread<R: Send>(
    engine: Engine,
    work: impl FnOnce(Start<'_>) -> Result<R, MeasureError> + Send,
) -> Result<R, MeasureError> {
    match engine {
        Engine::Score => thread::scope(|scope| {
            let start = |file: &NetFile| -> Result<Box<dyn Answers>, EngineError> {
                Ok(Box::new(Score { net: HostNet::of(file), width: usize::try_from(file.model.inputs()).unwrap_or(0) }))
            };
            scope.spawn(move || work(&start)).join().map_err(|_| EngineError::Thread)?
        }),
        #[cfg(feature = "engine")]
        Engine::Rten => rten::on_one_thread(work),
        #[cfg(not(feature = "engine"))]
        Engine::Rten => Err(EngineError::NotBuilt(engine).into()),
    }
}

/// The code of `secateur score`.
struct Score {
    net: HostNet,
    width: usize,
}

impl Answers for Score {
    fn answer(&mut self, rows: &[f32], _count: usize) -> Result<Vec<f32>, EngineError> {
        Ok(rows.chunks_exact(self.width.max(1)).flat_map(|row| self.net.logits(row)).collect())
    }
}

#[cfg(feature = "engine")]
mod rten {
    use std::sync::Arc;

    use ::rten::{Model, RunOptions, ThreadPool, ValueView};
    use secateur_proto::spec::Engine;

    use super::{Answers, EngineError, Start};
    use crate::{export::onnx, measure::MeasureError, serve::NetFile};

    /// A net as an ONNX file that takes prepared rows.
    struct Rten {
        model: Model,
        pool: Arc<ThreadPool>,
        /// Behind the number of rows.
        shape: Vec<usize>,
    }

    fn failed(error: &impl ToString) -> EngineError {
        EngineError::Failed { engine: Engine::Rten, message: error.to_string() }
    }

    pub(super) fn on_one_thread<R: Send>(
        work: impl FnOnce(Start<'_>) -> Result<R, MeasureError> + Send,
    ) -> Result<R, MeasureError> {
        let pool = Arc::new(ThreadPool::with_num_threads(1));
        let shared = Arc::clone(&pool);
        // From within its own thread the engine goes on without waking another one.
        pool.run(move || {
            let start = |file: &NetFile| -> Result<Box<dyn Answers>, EngineError> {
                let model = Model::load(onnx::write_net(file)).map_err(|error| failed(&error))?;
                let shape = match file.model.image() {
                    Some(image) => image.map(|size| size as usize).to_vec(),
                    None => vec![usize::try_from(file.model.inputs()).unwrap_or(0)],
                };
                Ok(Box::new(Rten { model, pool: Arc::clone(&shared), shape }))
            };
            work(&start)
        })
    }

    impl Answers for Rten {
        fn answer(&mut self, rows: &[f32], count: usize) -> Result<Vec<f32>, EngineError> {
            let shape: Vec<usize> = [count].iter().chain(&self.shape).copied().collect();
            let rows = ValueView::from_shape(shape, rows).map_err(|error| failed(&error))?;
            let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
            let answer = self.model.run_one(rows.into(), Some(options)).map_err(|error| failed(&error))?;
            let (_, logits) = answer.into_shape_vec::<f32, 2>().map_err(|error| failed(&error))?;
            Ok(logits)
        }
    }
}
