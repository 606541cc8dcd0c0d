//! Client for Azure Managed HSM.
