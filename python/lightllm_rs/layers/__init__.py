"""What models are made of: tensor parallel layers over the kernels, and the batch and cache that they run on."""
