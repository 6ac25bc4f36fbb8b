//! What the files of a sweep's nets say, read from the artifacts.

use secateur_proto::ids::{ContentHash, SweepId};
use secateur_worker::{
    data::Preparation,
    serve::{NetFile, Scorer},
};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{Queries, QueryError, answers::Answer, report::report_of};
use crate::{
    artifacts::ArtifactStore,
    report::{MeasuredOn, NetFiles, OfNets, of_nets},
};

impl Answer for OfNets {
    fn size(&self) -> usize {
        size_of::<Self>() + self.len() * 256
    }
}

impl Queries {
    /// Which columns the nets of the front read, and where nets were measured.
    pub(super) async fn of_nets(&self, sweep: &SweepId) -> Result<std::sync::Arc<OfNets>, QueryError> {
        let runtime = Handle::current();
        // A simulation has no nets, and its only thread cannot wait here.
        if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Ok(std::sync::Arc::default());
        }
        let store = self.store.clone();
        self.answer(sweep, "nets", move |results| {
            let mut files = Files { runtime: &runtime, store: &store, preparation: None };
            Ok(of_nets(&report_of(results)?, &mut files))
        })
        .await
    }
}

struct Files<'a> {
    runtime: &'a Handle,
    store: &'a ArtifactStore,
    /// The last one: a sweep has one.
    preparation: Option<(ContentHash, Preparation)>,
}

impl Files<'_> {
    fn read<T>(&self, hash: ContentHash, read: impl Fn(&[u8]) -> Result<T, String>) -> Option<T> {
        let bytes = self.runtime.block_on(self.store.get(hash)).map_err(|error| error.to_string());
        let found = bytes.and_then(|bytes| read(&bytes));
        found.map_err(|error| tracing::debug!(%hash, error, "cannot read a file of a net")).ok()
    }
}

impl NetFiles for Files<'_> {
    fn columns(&mut self, net: ContentHash, preparation: ContentHash) -> Option<Vec<(String, bool)>> {
        if self.preparation.as_ref().is_none_or(|(hash, _)| *hash != preparation) {
            let read = |bytes: &[u8]| Preparation::from_json(bytes).map_err(|error| error.to_string());
            self.preparation = Some((preparation, self.read(preparation, read)?));
        }
        let (_, preparation) = self.preparation.as_ref()?;
        // Of images every pixel comes with the image.
        if preparation.image.is_some() {
            return None;
        }
        let file = self.read(net, |bytes| NetFile::read(bytes).map_err(|error| error.to_string()))?;
        let (small, inputs) = file.compacted(None);
        let scorer = Scorer::new(preparation, &small, Some(inputs)).ok()?;
        let names = preparation.columns.iter().map(|column| column.name.clone());
        Some(names.zip(scorer.reads().iter().copied()).collect())
    }

    fn machine(&mut self, measurement: ContentHash) -> Option<MeasuredOn> {
        self.read(measurement, |bytes| serde_json::from_slice(bytes).map_err(|error| error.to_string()))
    }
}
